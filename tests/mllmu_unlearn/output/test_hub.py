"""`mllmu push` against a Hub on the loopback: what goes, in how many commits, and what is never shown."""

import json
import shutil

import pytest
import torch
import yaml
from fake_hub import fake_hub
from huggingface_hub import EvalResultEntry, ModelCard, constants, parse_eval_result_entries
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_unlearn.cli.main import app
from mllmu_unlearn.config.commands import UnlearnConfig, parse
from mllmu_unlearn.output import hub
from mllmu_unlearn.training import run

SECRET = "hf_verySecretTokenThatIsNeverShown"
DATE = "20260101_120000"
WEIGHTS = "adapter_model.safetensors"
BASE = ("--base_model", "someone/vanilla")


@pytest.fixture(scope="module")
def adapter(checkpoint, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("push") / "npo"
    where = ["--model_name_or_path", str(checkpoint), "--data", str(data), "--output_dir", str(out)]
    return run.unlearn(
        parse(UnlearnConfig, [*where, "--method", "npo", "--forget_ratio", "5", "--max_steps", "1", "--use_cpu"])
    )


@pytest.fixture
def online(monkeypatch):
    """A Hub, a token, and no offline mode."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with fake_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(hub, "HfApi", lambda endpoint: HfApi(endpoint=server.url))
        yield server


HfApi = hub.HfApi


@pytest.fixture
def results(tmp_path):
    """results(data) -> lmms-eval output of two leaves: four people, half of the answers right on forget."""

    def write(data="MLLMMU/MLLMU-Bench", limit=None, peft="npo"):
        folder = tmp_path / "results" / "npo"
        folder.mkdir(parents=True, exist_ok=True)
        facts = json.dumps({"data": data, "data_hash": "d", "seed": 0, "shots": [1, 2]})
        leaves = {"mllmu_forget_cloze_text": (0, 1), "mllmu_retain_cloze_image": (1, 1)}
        content = {
            "results": {leaf: {"mllmu_facts,none": facts} for leaf in leaves},
            "config": {"model": "mllmu_hf", "model_args": f"pretrained=m,peft={peft}", "limit": limit},
        }
        (folder / f"{DATE}_results.json").write_text(json.dumps(content))
        for leaf, scores in leaves.items():
            rows = [
                {"person": person, "question_index": i, "score": float(s), "prediction": "x", "gold": "y"}
                | {"answered": 1, "parsed": 1}
                for person in "abcd"
                for i, s in enumerate(scores)
            ]
            (folder / f"{DATE}_samples_{leaf}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return folder

    return write


def test_a_port_that_no_server_has_is_said_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://localhost:99999")
    with pytest.raises(UserError, match=r"HF_ENDPOINT .* ports are numbers from 1 to 65535"):
        push(tmp_path, "--repo_id", "me/adapter")


def push(*arguments: str) -> str:
    return CliRunner().invoke(app, ["push", *map(str, arguments)], catch_exceptions=False).output


def test_everything_goes_in_one_commit_and_the_token_is_never_shown(adapter, online, results):
    shown = push(adapter, "--repo_id", "me/forgetful", "--results", results(), "--private", *BASE)
    assert online.commits == 1
    assert (online.created["name"], online.created["organization"]) == ("forgetful", "me")
    files = online.files
    assert {"README.md", "unlearning.yaml", "adapter_config.json", "adapter_model.safetensors"} <= set(files)
    assert {"tokenizer.json", "chat_template.jinja", ".eval_results/mllmu.yaml"} <= set(files)
    assert files["adapter_model.safetensors"] == (adapter / "adapter_model.safetensors").read_bytes()
    assert all(name in shown for name in files)
    assert SECRET in online.requests[0][1]  # it was sent, and
    assert SECRET not in shown
    assert not any(SECRET.encode() in content for content in files.values())


def test_no_path_of_this_machine_remains(adapter, online, checkpoint):
    push(adapter, "--repo_id", "me/forgetful", *BASE)
    config = json.loads(online.files["adapter_config.json"])
    assert config["base_model_name_or_path"] == "someone/vanilla"
    assert yaml.safe_load(online.files["unlearning.yaml"])["base_model"]["name_or_path"] == "someone/vanilla"
    card = ModelCard(online.files["README.md"].decode())
    assert card.data.base_model == "someone/vanilla"
    assert str(checkpoint) not in card.content
    assert str(checkpoint) in (adapter / "adapter_config.json").read_text()  # the folder here is as it was


def test_both_forms_hold_the_same_results(adapter, online, results):
    push(adapter, "--repo_id", "me/forgetful", "--results", results(), *BASE)
    card = ModelCard(online.files["README.md"].decode())
    told = {(r.dataset_config, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert told == {("mllmu_forget_cloze", "mllmu_cloze"): 0.5, ("mllmu_retain_cloze", "mllmu_cloze"): 1.0}
    entries = parse_eval_result_entries(yaml.safe_load(online.files[hub.RESULTS_FILE]))
    assert [type(entry) for entry in entries] == [EvalResultEntry] * 2
    assert {(e.task_id, e.value) for e in entries} == {("mllmu_forget_cloze", 0.5), ("mllmu_retain_cloze", 1.0)}
    assert {(e.dataset_id, e.date) for e in entries} == {("MLLMMU/MLLMU-Bench", "2026-01-01")}
    assert "8 questions, 4 people; seed 0, shots [1, 2]" in entries[0].notes
    assert "| npo | 0.50 ±.00 \\* | 1.00 ±.00 \\* |" in card.content


def test_results_on_other_data_do_not_claim_the_benchmark(adapter, online, results):
    shown = push(adapter, "--repo_id", "me/forgetful", "--results", results("mini"), *BASE)
    assert hub.RESULTS_FILE not in online.files
    assert "not on a data set of the Hub" in shown
    assert ModelCard(online.files["README.md"].decode()).data.eval_results[0].dataset_type == "mini"


def test_no_path_of_this_machine_is_published(adapter, online, results, data):
    push(adapter, "--repo_id", "me/forgetful", "--results", results(f"{data}"), *BASE)
    for name, content in online.files.items():
        assert str(data.parent) not in content.decode(errors="replace"), name
    assert data.name in online.files["unlearning.yaml"].decode()
    assert str(data) in (adapter / "unlearning.yaml").read_text()  # the folder here stays as it is


def test_a_folder_with_one_slash_is_no_data_set_of_the_hub(adapter, online, results):
    assert "not on a data set of the Hub" in push(
        adapter, "--repo_id", "me/x", "--results", results("data/bench"), *BASE
    )


def test_results_must_be_of_this_very_folder(adapter, online, results):
    push(adapter, "--repo_id", "me/x", "--results", results(peft=adapter), *BASE)
    with pytest.raises(UserError, match="evaluated '/elsewhere/npo'"):  # same name, another folder
        push(adapter, "--repo_id", "me/x", "--results", results(peft="/elsewhere/npo"), *BASE)


def test_paths_become_neutral_words_even_if_they_are_nothing_here(adapter):
    record = yaml.safe_load((adapter / "unlearning.yaml").read_text())
    record["data"]["source"] = "data/bench"
    record["hyper_parameters"] |= {"reference_model": "/home/me/retain", "alternates": "a/b.jsonl"}
    public = hub._public(record)
    assert public["data"]["source"] == "local folder 'bench'"
    assert public["hyper_parameters"]["reference_model"] == "local folder 'retain'"
    assert public["hyper_parameters"]["alternates"] == "local file 'b.jsonl'"
    assert record["data"]["source"] == "data/bench"


def test_the_revision_stays_with_an_unchanged_base_only(adapter, online, tmp_path):
    copy = tmp_path / "npo"
    shutil.copytree(adapter, copy)
    record = yaml.safe_load((copy / "unlearning.yaml").read_text())
    record["base_model"] |= {"name_or_path": "someone/vanilla", "revision": "abc"}
    (copy / "unlearning.yaml").write_text(yaml.safe_dump(record))
    revision = lambda: yaml.safe_load(online.files["unlearning.yaml"])["base_model"]["revision"]
    assert "at your word" not in push(copy, "--repo_id", "me/x", *BASE)
    assert revision() == "abc"
    assert "at your word" in push(copy, "--repo_id", "me/x", "--base_model", "other/name")
    assert revision() is None


def test_a_dry_run_sends_nothing(adapter, online, results):
    shown = push(adapter, "--repo_id", "me/forgetful", "--results", results(), "--dry_run", *BASE)
    assert online.requests == []
    assert "adapter_model.safetensors" in shown
    assert "nothing was uploaded to me/forgetful" in shown
    assert "name the 3 forgotten people" in shown


@pytest.mark.parametrize(("code", "message"), [(401, "hf auth login"), (403, "may not write"), (500, r"\(500\)")])
def test_a_refused_commit_leaves_nothing_half_done(adapter, online, code, message):
    online.refuse = code
    with pytest.raises(UserError, match=message) as end:
        push(adapter, "--repo_id", "me/forgetful", *BASE)
    assert online.files == {}
    assert SECRET not in str(end.value)


def test_what_cannot_be_pushed_is_said(adapter, online, results, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="give its hub id: --base_model"):
        push(adapter, "--repo_id", "me/x")
    with pytest.raises(UserError, match=r"no unlearning.yaml"):
        push(tmp_path, "--repo_id", "me/x", *BASE)
    with pytest.raises(UserError, match="no name for a repository"):
        push(adapter, "--repo_id", "me/x/y", *BASE)
    with pytest.raises(UserError, match="--limit"):
        push(adapter, "--repo_id", "me/x", "--results", results(limit=2), *BASE)
    damaged = results()
    (file, *_) = damaged.rglob("*_samples_*.jsonl")
    file.write_text(file.read_text().replace('"score": 1.0', '"score": NaN', 1))
    with pytest.raises(UserError, match=r"cannot stand on a card: .*: scores outside 0\.\.1"):
        push(adapter, "--repo_id", "me/x", "--results", damaged, *BASE)
    with pytest.raises(UserError, match="evaluated 'adapters/idk'"):
        push(adapter, "--repo_id", "me/x", "--results", results(peft="adapters/idk"), *BASE)
    monkeypatch.setattr(hub, "HfApi", lambda endpoint: HfApi(endpoint="http://127.0.0.1:9"))
    with pytest.raises(UserError, match="cannot be reached"):
        push(adapter, "--repo_id", "me/x", *BASE)
    assert online.commits == 0


def damaged(adapter, folder, how):
    shutil.copytree(adapter, folder)
    how(folder)
    return folder


def set_all(value):
    def change(folder):
        tensors = load_file(folder / WEIGHTS)
        save_file({name: torch.full_like(tensor, value) for name, tensor in tensors.items()}, folder / WEIGHTS)

    return change


def record(**changes):
    def change(folder):
        kept = yaml.safe_load((folder / "unlearning.yaml").read_text()) | changes
        kept = {key: value for key, value in kept.items() if value != "none"}
        (folder / "unlearning.yaml").write_text(yaml.safe_dump(kept))

    return change


DAMAGE = {
    "is a pickle": lambda folder: (folder / WEIGHTS).rename(folder / "adapter_model.bin"),
    "is not complete": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]),
    "is no safetensors file": lambda folder: (folder / WEIGHTS).write_bytes(b"root:x:0:0:root:/root"),
    "holds NaN or infinity": set_all(float("nan")),
    "holds NaN or infinity ": set_all(float("inf")),
    "changes nothing": set_all(0.0),
    "is no JSON": lambda folder: (folder / "adapter_config.json").write_text("{"),
    r"not what mllmu writes \(method\)": record(method="none"),
    r"not what mllmu writes \(forget\)": record(forget=5),
    r"not what mllmu writes \(the ids of forget": record(forget={"ids": "003"}),
    "is no valid YAML": lambda folder: (folder / "unlearning.yaml").write_text("a: ["),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_a_damaged_folder_is_not_pushed_nor_rehearsed(adapter, online, tmp_path, said):
    folder = damaged(adapter, tmp_path / "npo", DAMAGE[said])
    with pytest.raises(UserError, match=said.strip()):
        push(folder, "--repo_id", "me/x", "--dry_run", *BASE)


def test_a_damaged_model_is_not_pushed(adapter, checkpoint, tmp_path):
    full = shutil.copytree(checkpoint, tmp_path / "full")
    kept = yaml.safe_load((adapter / "unlearning.yaml").read_text()) | {"kind": "full"}
    (full / "unlearning.yaml").write_text(yaml.safe_dump(kept))
    assert "model.safetensors" in push(full, "--repo_id", "me/x", "--dry_run", *BASE)
    tensors = load_file(full / "model.safetensors")
    tensors[sorted(tensors)[-1]].view(-1)[0] = float("inf")
    save_file(tensors, full / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="holds NaN or infinity"):
        push(full, "--repo_id", "me/x", "--dry_run", *BASE)
    (full / "model.safetensors").unlink()
    with pytest.raises(UserError, match="only safetensors are opened"):
        push(full, "--repo_id", "me/x", "--dry_run", *BASE)


def test_a_pickle_beside_the_weights_stays_here(adapter, online, tmp_path):
    folder = damaged(adapter, tmp_path / "npo", lambda folder: (folder / "optimizer.pt").write_bytes(b"x"))
    assert "left out: optimizer.pt, a pickle" in push(folder, "--repo_id", "me/x", *BASE)
    assert "optimizer.pt" not in online.files


def test_a_base_that_is_here_is_compared(adapter, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(checkpoint, tmp_path / "someone" / "vanilla")
    assert "at your word" not in push(adapter, "--repo_id", "me/x", "--dry_run", *BASE)
    tensors = load_file(checkpoint / "model.safetensors")
    tensors[sorted(tensors)[-1]].view(-1)[0] += 1
    save_file(tensors, tmp_path / "someone" / "vanilla" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="are not those of the recorded base model"):
        push(adapter, "--repo_id", "me/x", "--dry_run", *BASE)


def test_a_path_of_windows_is_no_hub_id(adapter):
    with pytest.raises(UserError, match="give its hub id: --base_model"):
        push(adapter, "--repo_id", "me/x", "--dry_run", "--base_model", r"C:\models\vanilla")


def test_the_trainers_own_flag_names_the_command():
    flags = ["--model_name_or_path", "m", "--output_dir", "o", "--method", "npo", "--forget_ratio", "5"]
    with pytest.raises(UserError, match="mllmu push"):
        parse(UnlearnConfig, [*flags, "--push_to_hub"])
    assert not parse(UnlearnConfig, [*flags, "--push_to_hub", "false"]).push_to_hub
