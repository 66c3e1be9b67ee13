import yaml

from mllmu_unlearn.output import card
from mllmu_unlearn.training.provenance import loss_curve


def test_a_long_log_is_thinned_and_keeps_its_end():
    logs = [{"step": n, "loss": 1 / n, "learning_rate": 0.1} for n in range(1, 1002)]
    curve = loss_curve(logs, points=100)
    assert set(curve) == {"step", "loss"}
    assert len(curve["step"]) == len(curve["loss"]) <= 100
    assert curve["step"][-1] == 1001
    assert curve["loss"][-1] == 0.000999


def test_a_term_that_was_not_logged_is_none_and_no_log_is_no_curve():
    curve = loss_curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "loss_forget": -3.0}])
    assert curve == {"step": [1, 2], "loss": [2.0, 1.0], "loss_forget": [None, -3.0]}
    assert loss_curve([]) == {}


def test_the_curve_is_in_the_record_on_few_lines_and_not_on_the_card(tmp_path, monkeypatch):
    monkeypatch.setattr(card, "_card", lambda record, *_, **__: str(card._flat(record["training"])))
    training = {"steps": 2, "final_losses": {"loss": 1.0}, "losses": {"step": [1, 2], "loss": [None, 1.0]}}
    card.write(tmp_path, {"training": training}, name="n")
    text = (tmp_path / "unlearning.yaml").read_text()
    assert yaml.safe_load(text)["training"] == training
    assert "    step: [1, 2]\n    loss: [null, 1.0]\n" in text
