"""Settings of lmms-eval's tasks, and where an answer ends."""

import pytest
import torch
from asking import SETTINGS, ask, document

from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.engine.engine import LOOK
from mllmu_tasks.models.engine.generation import AnswersEnd, Reading, cut, generation_settings, stop_texts

GREEDY = {"max_new_tokens": 128, "do_sample": False}


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({}, GREEDY),
        ({"until": ["x"], "image_aspect_ratio": "pad", "visual_cot": False}, GREEDY),
        ({"temperature": 0, "top_p": None, "num_beams": 1}, {**GREEDY, "num_beams": 1}),
        ({"temperature": 0, "do_sample": True, "top_p": 0.9}, GREEDY),
        ({"temperature": 0.5}, {**GREEDY, "do_sample": True, "temperature": 0.5}),
        ({"do_sample": True, "top_k": 5}, {**GREEDY, "do_sample": True, "top_k": 5}),
        ({"max_gen_toks": 7}, {**GREEDY, "max_new_tokens": 7}),
        ({"max_new_tokens": 9, "max_gen_toks": 7}, {**GREEDY, "max_new_tokens": 9}),
    ],
)
def test_settings(given, settings):
    assert generation_settings(given, "here") == settings


def test_an_unknown_setting_is_named():
    with pytest.raises(UserError, match=r"^leaf, person 1: .*'max_new_token'.*Did you mean 'max_new_tokens'"):
        generation_settings({"max_new_token": 5}, "leaf, person 1")


def test_stop_texts():
    assert stop_texts({}) == ()
    assert stop_texts({"until": "\n"}) == ("\n",)
    assert stop_texts({"until": ["a", "", "b"]}) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [("one.two", [".", "o."], "one"), ("one", ["x"], "one"), ("x", ["x"], ""), ("a\n\nb", ["\n\n", "b"], "a")],
)
def test_cut(text, stops, kept):
    assert cut(text, stops) == kept


def test_a_row_ends_by_its_own_stop_text_and_not_by_the_prompt(folders):
    tokenizer = MllmuHf(pretrained=str(folders()), device="cpu").processor.tokenizer
    rows = [tokenizer("person lives" + text, add_special_tokens=False)["input_ids"] for text in (" Oslo", " Lima")]
    length = len(tokenizer("person lives", add_special_tokens=False)["input_ids"])
    width = min(map(len, rows))
    ids = torch.tensor([row[:width] for row in rows])
    said = [tokenizer.decode(row[length:]) for row in ids]
    ends = AnswersEnd(tokenizer.batch_decode, length, [Reading((said[0],)), Reading(("person",))])
    assert ends(ids, None).tolist() == [True, False]


def test_generation_stops_early_and_the_text_is_cut(folders):
    model = MllmuHf(pretrained=str(folders()), device="cpu", batch_size=4)
    docs = [document(n, f"Who is number {n}?") for n in range(4)]
    plain = {**SETTINGS, "max_new_tokens": 20, "until": []}
    model.engine.read = lambda rows: ["".join(f"<{n}>" for n in row) for row in rows]
    whole = ask(model, docs, plain)
    spent = model.engine.counts.tokens_decoded
    stop = [text.split("<")[3] for text in whole]  # what the third token reads, of every row
    answers = ask(model, docs, {**plain, "until": [f"<{part}" for part in stop]})
    assert all(text.startswith(answer) and answer.count("<") <= 2 for text, answer in zip(whole, answers, strict=True))
    assert model.engine.counts.tokens_decoded - spent <= 4 * LOOK


def test_the_best_beam_is_cut_like_any_answer(folders):
    model = MllmuHf(pretrained=str(folders()), device="cpu", batch_size=2)
    docs = [document(n, f"Who is number {n}?") for n in range(2)]
    beams = {"max_new_tokens": 6, "num_beams": 2}
    whole = ask(model, docs, {**beams, "until": []})
    stop = whole[1][2:4]
    assert ask(model, docs, {**beams, "until": [stop]})[1] == whole[1][: whole[1].index(stop)]


def test_greedy_is_silent_about_a_checkpoint_that_samples(folders, tmp_path, caplog, recwarn):
    plain = MllmuHf(pretrained=str(folders()), device="cpu")
    folder = tmp_path / "sampling"
    config = plain.model.generation_config
    config.do_sample, config.temperature, config.top_p, config.top_k = True, 0.3, 0.5, 7
    plain.model.save_pretrained(folder)
    plain.processor.save_pretrained(folder)
    model = MllmuHf(pretrained=str(folder), device="cpu")
    docs = [document(1, "Who is it?", images=1)]
    with caplog.at_level("WARNING"):
        answers = ask(model, docs)
    assert "temperature" not in caplog.text + "".join(str(w.message) for w in recwarn)
    fresh = MllmuHf(pretrained=str(folders()), device="cpu")
    assert answers == ask(fresh, docs)
    assert model.engine.sampling_defaults == {"temperature": 0.3, "top_p": 0.5, "top_k": 7}


def test_sampled_repeats_are_separate_answers(folders):
    model = MllmuHf(pretrained=str(folders()), device="cpu", batch_size=8)
    docs = [document(1, "Who is it?")] * 6
    torch.manual_seed(0)
    sampled = ask(model, docs, {"max_new_tokens": 8, "do_sample": True, "temperature": 5.0})
    assert len(set(sampled)) > 1
    model.engine.counts.questions = 0
    assert len(set(ask(model, docs))) == 1
    assert model.engine.counts.questions == 1  # equal greedy requests are one
