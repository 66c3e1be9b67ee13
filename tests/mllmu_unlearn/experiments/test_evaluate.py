"""`mllmu eval`: the plan of its runs, and a base model that is as before when an adapter is out again."""

from pathlib import Path

import pytest
import tiny_models
from adapters import make_adapter, make_prompt_folder, save_adapter
from asking import MIXED, ask
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from mllmu_tasks.artifacts.adapter_folder import read_adapter
from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.base_model import shared_bases, touches_vision
from mllmu_unlearn.cli.evaluate import parse
from mllmu_unlearn.experiments.evaluate import plan


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_models.save("llava", tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path / "cache"))


def test_runs_are_ordinary_commands(model, tmp_path):
    lora = make_adapter(model, tmp_path / "one", "lora")
    arguments = ["--base", str(model), "--adapters", str(lora), "--with-base", "--output-path", "out"]
    given, rest = parse([*arguments, "--model_args", "dtype=float32", "--tasks", "mllmu", "--limit", "3"])
    runs = plan(given.base, given.adapters, given.with_base, given.output_path, given.model_args, rest)
    assert [run.name for run in runs] == ["base", "one"]
    assert runs[1].command == (
        f"lmms-eval --model mllmu_hf --model_args pretrained={model},peft={lora},dtype=float32 --tasks mllmu "
        "--limit 3 --batch_size auto --log_samples --output_path out/one"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--adapters", "a"], "--base"),
        (["--base", "b", "--output_path", "o"], "--tasks"),
    ],
)
def test_flags_that_lack(arguments, words):
    with pytest.raises(UserError, match=words):
        parse(arguments)


def test_plans_that_cannot_be(model, tmp_path):
    one, other = (make_adapter(model, tmp_path / place / "npo", "lora") for place in ("a", "b"))
    with pytest.raises(UserError, match="two runs would be called 'npo'"):
        plan(str(model), [str(one), str(other)], False, Path("o"), "", [])
    with pytest.raises(UserError, match="nothing to evaluate"):
        plan(str(model), [], False, Path("o"), "", [])
    with pytest.raises(UserError, match="set by `mllmu eval`"):
        plan(str(model), [str(one)], False, Path("o"), "", ["--log_samples"])
    with pytest.raises(UserError, match="nowhere"):
        plan(str(model), ["nowhere"], True, Path("o"), "", [])
    with pytest.raises(UserError, match="peft 'adapters/a,b' holds a comma"):
        plan(str(model), ["adapters/a,b"], False, Path("o"), "", [])
    with pytest.raises(UserError, match="holds 'b', which is no name=value"):
        plan(str(model), [str(one)], False, Path("o"), "processor=a,b", [])


def test_results_stay_inside_their_folder(model, tmp_path, monkeypatch):
    """An adapter named by a path without a name of its own."""
    inside = make_adapter(model, tmp_path / "npo", "lora") / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert [run.folder for run in plan(str(model), [".."], False, Path("o"), "", [])] == [Path("o/npo")]


def test_adapters_one_after_the_other_answer_as_alone(model, tmp_path):
    """LoRA, IA3, SHiRA, a prompt and none, twice: each as in a process of its own; features are shared."""
    adapters = [str(make_adapter(model, tmp_path / kind, kind)) for kind in ("lora", "ia3", "shira")]
    adapters += [str(make_prompt_folder(model, tmp_path / "prompt", "You know nobody.")), None]

    def answers(adapter):
        one = MllmuHf(pretrained=str(model), device="cpu", batch_size=8, peft=adapter)
        special = set(one.engine.tokenizer.all_special_ids)
        one.engine.read = lambda rows: [" ".join(str(n) for n in row if n not in special) for row in rows]
        given, counts = ask(one, MIXED), one.engine.counts
        one.clean()
        return given, counts

    alone = {adapter: answers(adapter)[0] for adapter in adapters}
    assert len({tuple(texts) for texts in alone.values()}) == len(adapters)
    with shared_bases():
        for turn in range(2):
            for adapter in adapters:
                texts, counts = answers(adapter)
                assert texts == alone[adapter]
                vision = adapter is not None and touches_vision_of(model, adapter)
                if turn == 1 and not vision:
                    assert counts.images_encoded == 0


def test_features_that_an_adapter_changed_go_with_it(model, tmp_path):
    """Or those of eight adapters would share the device's memory with the last one's."""
    wrapped = get_peft_model(
        AutoModelForImageTextToText.from_pretrained(model), LoraConfig(target_modules=r".*linear_1")
    )
    save_adapter(wrapped, tmp_path / "lora")
    with shared_bases():
        one = MllmuHf(pretrained=str(model), device="cpu", peft=str(tmp_path / "lora"))
        ask(one, MIXED)
        base, (kept,) = one.base, one.base.features.values()
        assert kept.kept
        one.clean()
        assert not base.features
        assert not kept.kept


def touches_vision_of(model, adapter):
    return touches_vision(MllmuHf(pretrained=str(model), device="cpu").engine.model, read_adapter(adapter))


@pytest.mark.parametrize(
    ("targets", "seen"),
    [
        (r".*language_model.*q_proj", False),
        (r".*vision_tower.*q_proj", True),
        (r".*multi_modal_projector.linear_1", True),
        (r".*layers.0.*q_proj", True),  # of the text model and of the tower
    ],
)
def test_an_adapter_of_tower_or_projector_is_seen(model, tmp_path, targets, seen):
    wrapped = get_peft_model(AutoModelForImageTextToText.from_pretrained(model), LoraConfig(target_modules=targets))
    save_adapter(wrapped, tmp_path / "lora")
    assert touches_vision_of(model, tmp_path / "lora") == seen
