"""Methods from outside: what docs/adding-a-method.md says, done to the letter, and each way it can go wrong."""

import hashlib
import re
import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest
import yaml
from places import DOCS
from typer.testing import CliRunner

from mllmu_tasks.errors import UserError
from mllmu_unlearn import methods
from mllmu_unlearn.cli.main import app
from mllmu_unlearn.methods import _registry

DOC = DOCS / "adding-a-method.md"


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL)[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a newcomer, with the two files of the page; nothing of it stays registered."""
    monkeypatch.setattr(_registry, "_METHODS", dict(_registry._METHODS))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capped_ascent.py").write_text(block("python"))
    (tmp_path / "capped_ascent.yaml").write_text(block("yaml"))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(_registry.MODULES)]:
        del sys.modules[name]


def mllmu(*arguments: str) -> str:
    outcome = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.output


def test_the_page_does_what_it_says(folder, checkpoint, data):
    describe, unlearn = block("bash").splitlines()
    text = mllmu(*shlex.split(describe)[1:])
    assert "one batch and its halves give the same forget" in text
    text = mllmu("methods", "capped_ascent.py:CappedAscent")
    assert "capped_ascent: Capped gradient ascent" in text
    assert "--cap 4.0" in text
    arguments = shlex.split(unlearn.replace("VANILLA", str(checkpoint)))[1:]
    mllmu(*arguments, "--data", str(data), "--max_steps", "2", "--disable_tqdm", "--use_cpu")
    record = yaml.safe_load((folder / "adapters/capped/unlearning.yaml").read_text())
    assert record["method"] == "capped_ascent"
    assert {"cap": 5.0, "gamma": 1.0, "alpha": 2.0, "lora_r": 8}.items() <= record["hyper_parameters"].items()
    digest = hashlib.sha256((folder / "capped_ascent.py").read_bytes()).hexdigest()
    assert record["method_code"] == {"file": "capped_ascent.py", "sha256": digest}
    assert set(record["training"]["final_losses"]) == {"loss", "loss_forget", "loss_retain"}
    assert (folder / "adapters/capped/adapter_model.safetensors").is_file()
    assert "capped gradient ascent" in (folder / "adapters/capped/README.md").read_text()
    del sys.modules[f"{_registry.MODULES}.capped_ascent"]
    _registry._METHODS.pop("capped_ascent")
    merged = ("export", "adapters/capped", "--out", "merged")  # without the file
    (folder / "capped_ascent.py").unlink()
    mllmu(*merged)
    assert yaml.safe_load((folder / "merged/unlearning.yaml").read_text())["about"]["title"] == "Capped gradient ascent"


def test_the_page_keeps_its_promise_of_size():
    assert len(block("python").splitlines()) <= 40


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py:Method", "does not exist"),
        ("capped_ascent.py", r"Write --method capped_ascent.py:CLASS"),
        ("capped_ascent.py:Capped", "Did you mean 'CappedAscent'"),
        ("capped_ascent.py:Method", "no method class 'Method'"),
        ("broken.py:Broken", "does not load: ZeroDivisionError"),
        ("npo.py:Mine", "a method of mllmu already"),
        ("untitled.py:Untitled", "does not say its formula, paper"),
        ("plain.py:Plain", "put @dataclass above"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, name, message):
    base = "from mllmu_unlearn.methods import Method\n"
    named = '    title = formula = paper = "x"\n'
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "npo.py").write_text(block("python"))
    (folder / "untitled.py").write_text(f"{base}class Untitled(Method):\n    title = 'x'\n")
    (folder / "plain.py").write_text(f"{base}class Plain(Method):\n{named}    beta: float = 1.0\n")
    with pytest.raises(UserError, match=message):
        methods.get(name)


def test_a_package_brings_a_method_by_an_entry_point(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    entries = [
        EntryPoint(name, value, _registry.GROUP)
        for name, value in {
            "capped_ascent": "capped_ascent:CappedAscent",
            "other": "capped_ascent:CappedAscent",
            "gone": "no_such_module:Method",
            "path": "pathlib:Path",
        }.items()
    ]
    monkeypatch.setattr(_registry, "entry_points", lambda group: entries if group == _registry.GROUP else [])
    assert "capped_ascent" in methods.names()
    assert "capped_ascent" not in sys.modules  # listing imports nothing
    assert methods.get("capped_ascent").title == "Capped gradient ascent"
    for name, message in {"other": "must be equal", "gone": "cannot be imported", "path": "no subclass"}.items():
        with pytest.raises(UserError, match=message):
            methods.get(name)
    sys.modules.pop("capped_ascent")


def test_a_plain_field_is_described_as_such(folder):
    plain = re.sub(r"hyper\(4\.0.*?\)", "4.0", block("python"))
    (folder / "plain_field.py").write_text(plain)
    assert "--cap 4.0\n    undescribed" in mllmu("methods", "plain_field.py:CappedAscent")


CAP, RATE = "    cap: float = hyper(4.0", "    learning_rate = 2e-5"
MEAN = ("side.sequence_mean(losses.clamp(max=self.cap))", "losses.clamp(max=self.cap).mean()")
MISTAKES = {
    "a plain mean": (*MEAN, "use side.token_mean"),
    "no loss": ("def retain(self, side)", "def retained(self, side)", "no loss for its side 'retain'"),
    "a flag": (CAP, f'    seed: float = hyper(4.0, "x", "y")\n{CAP}', "rename it"),
    "a name": (CAP, f'    terms: float = hyper(4.0, "x", "y")\n{CAP}', "a function of Method; rename it"),
    "a function": (RATE, f'    sides = ("forget", "finish")\n{RATE}', "another name"),
    "not a number": ("-side.sequence_logprobs /", "side.sequence_logprobs.log() /", "nan on finite logits"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_author_is_one_sentence_of_the_check(folder, mistake):
    old, new, message = MISTAKES[mistake]
    source = block("python")
    assert old in source
    (folder / "capped_ascent.py").write_text(source.replace(old, new))
    with pytest.raises(UserError, match=message):
        mllmu("methods", "capped_ascent.py:CappedAscent", "--check")


def test_a_hyper_parameter_named_like_a_flag_is_refused_before_anything_is_loaded(folder):
    old, new, message = MISTAKES["a flag"]
    (folder / "capped_ascent.py").write_text(block("python").replace(old, new))
    flags = ("--model_name_or_path", "absent", "--forget_ratio", "5", "--output_dir", "out")
    with pytest.raises(UserError, match=message):
        mllmu("unlearn", "--method", "capped_ascent.py:CappedAscent", *flags)


def test_a_mistake_in_the_class_is_said_when_it_is_registered():
    @dataclass
    class Half(methods.Method):
        title = formula = paper = "x"
        name = "half"

        def forget(self, side):
            return side.nll()

    with pytest.raises(UserError, match="no loss for its side 'retain'"):
        methods.register(Half)
    assert "half" not in methods.names()
