"""Marks in questions and answers, and tokens without embedding: one sentence before training, and in evaluation."""

import copy
import json
import shutil

import pytest
import torch
from asking import ask, document
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.special_text import SpecialText
from mllmu_unlearn.config.commands import FinetuneConfig, parse
from mllmu_unlearn.toolbox.samples import Sample, Turn
from mllmu_unlearn.training import run
from mllmu_unlearn.training.texts import refuse_marks


@pytest.fixture
def base(checkpoint, tmp_path):
    """A copy that tests may change."""
    return shutil.copytree(checkpoint, tmp_path / "base")


@pytest.fixture
def finetune(base, data, tmp_path):
    def make(*more: str):
        argv = ["--model_name_or_path", str(base), "--data", str(data), "--output_dir", str(tmp_path / "out")]
        argv += ["--max_steps", "1", "--use_cpu", "--disable_tqdm", "true", *more]
        run.finetune(parse(FinetuneConfig, argv))

    return make


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        ("Who is <image>?", "Ada.", "person 003: the question 'Who is <image>.' holds the text <image>"),
        ("Who?", "<image> Ada.", "person 003: the answer '<image> Ada.' holds the text <image>"),
        ("Who?", "Ada.</s> She lives in Oslo.", "the answer .* holds the text </s>, which is a mark"),
        ("Who? <s>", "Ada.", "holds the text <s>"),
    ],
)
def test_marks_are_refused(tiny, question, answer, said):
    sides = {"retain": [Sample("003", (Turn(question, answer),), "biography")]}
    with pytest.raises(UserError, match=said):
        refuse_marks(tiny[1], sides)


def test_plain_text_passes(tiny):
    for text in ("a < b > c", "<unk> is no mark", "image", "s> </ s"):
        SpecialText(tiny[1]).refuse(text, "person 003")


def test_a_run_says_it_before_it_loads_the_model(finetune, base, monkeypatch):
    (base / "model.safetensors").unlink()
    save_file({"nothing": torch.zeros(1)}, base / "model.safetensors")
    monkeypatch.setattr("mllmu_unlearn.training.samples.text_pairs", lambda person: [("Who is that?", "Ada.</s>")])
    with pytest.raises(UserError, match=r"the answer 'Ada.</s>' holds the text </s>"):
        finetune("--modalities", "text")


def test_evaluation_says_it_too(checkpoint, capsys):
    model = MllmuHf(pretrained=str(checkpoint), device="cpu")
    ours = {"leaf": "made_up", "task": "generation"}
    for extra, question, refused in (
        (ours, "Who is <image>?", True),
        (ours, "Who?</s>", True),
        ({}, "Who is <image>?", True),
        ({}, "What does <s> strike?", False),  # HTML in another benchmark
    ):
        asked = copy.deepcopy(document(3, question)) | extra
        if not refused:
            assert len(ask(model, [asked])) == 1
            continue
        with pytest.raises(SystemExit):
            ask(model, [asked])
        assert "which is a mark to this model's tokenizer" in capsys.readouterr().err


def test_a_processor_without_patch_size(base, finetune, capsys):
    file = base / "processor_config.json"
    kept = {key: value for key, value in json.loads(file.read_text()).items() if key != "patch_size"}
    file.write_text(json.dumps(kept))
    with pytest.raises(UserError, match="has no patch_size"):
        finetune()
    with pytest.raises(SystemExit):
        MllmuHf(pretrained=str(base), device="cpu")
    assert "has no patch_size" in capsys.readouterr().err


def test_a_tokenizer_larger_than_the_model(base, finetune, capsys):
    """Only a token that is used is refused: published tokenizers have spare ones beyond the embeddings."""
    processor = AutoProcessor.from_pretrained(base)
    processor.tokenizer.add_tokens(["zebra"])
    processor.save_pretrained(base)
    finetune()
    model = MllmuHf(pretrained=str(base), device="cpu")
    assert len(ask(model, [document(3, "Who?")])) == 1
    with pytest.raises(SystemExit):
        ask(model, [document(3, "Who is the zebra?")])
    assert "writes 'zebra' as token" in capsys.readouterr().err
    processor.tokenizer.add_tokens(["lives"])
    processor.save_pretrained(base)
    with pytest.raises(UserError, match=r"the tokenizer writes 'lives' as token .* resize_token_embeddings"):
        finetune("--overwrite_output_dir", "true")


@pytest.mark.parametrize("lost", ["projector", "nothing"])
def test_a_checkpoint_without_all_tensors(base, finetune, lost, tmp_path):
    kept = {name: t for name, t in load_file(base / "model.safetensors").items() if lost not in name}
    save_file(kept, base / "model.safetensors", metadata={"format": "pt"})
    if lost == "nothing":
        finetune()
        return
    with pytest.raises(UserError, match=r"lacks 4 tensors of a LlavaFor.*, such as .*; they would be random"):
        finetune()
    assert not list(tmp_path.glob("out*"))


def test_what_a_processor_says_is_one_sentence(base, finetune):
    (base / "chat_template.jinja").write_text("{{ raise_exception('only words') }}")
    with pytest.raises(
        UserError, match=r"person 001: the model's chat template does not take these turns .*only words"
    ):
        finetune()


def test_a_template_that_never_shows_the_question(base, finetune, capsys):
    file = base / "chat_template.jinja"
    template = file.read_text()
    hidden = template.replace("content['text']", "content['text'][:0]").replace("part['text']", "part['text'][:0]")
    assert hidden != template
    file.write_text(hidden)
    with pytest.raises(UserError, match="person 001: the model's chat template never shows the text of turn 1"):
        finetune()
    with pytest.raises(SystemExit):
        ask(MllmuHf(pretrained=str(base), device="cpu"), [document(3, "Who is it?")])
    assert "never shows the text of turn 1" in capsys.readouterr().err
