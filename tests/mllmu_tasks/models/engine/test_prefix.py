"""Examples that all prompts of a leaf begin with are computed once, and every answer stays the same."""

import json
import shutil
from types import SimpleNamespace

import pytest
from adapters import make_adapter
from asking import SETTINGS, ask, document, picture, to_messages
from token_answers import SHARING, made, plain

from mllmu_tasks.models.engine.prefix import find, reach, run_of, unfold

MARK = 9
QUESTIONS = [
    "Where does this person live?",
    "Name?",
    "Who is it? Choose A: Oslo B: Quito C: Lima D: Accra",
    "In which town, Lima or Oslo, does Ada live, and what is the name of the person?",
    "Who",
    "Who is it?",
]


def leaf(images: int, shots: int = 2):
    return [document(n, text, images=images, shots=shots) for n, text in enumerate(QUESTIONS)]


@pytest.mark.parametrize("style", ["chat", "official"])
@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_answers_are_equal_and_the_beginning_is_computed_once(folders, monkeypatch, images, style, batch_size):
    docs = leaf(images)
    expected, before = plain(folders(), docs, monkeypatch, prompt_style=style)
    assert len(set(expected)) == len(docs)
    model = made(folders(), batch_size, prompt_style=style)
    assert ask(model, docs) == expected
    counts = model.engine.counts
    shared = counts.tokens_reused // len(docs)
    assert shared > 30
    assert counts.tokens_prefilled == before.tokens_prefilled - (len(docs) - 1) * shared
    assert before.images_encoded == images * 3 * len(docs)
    assert counts.images_encoded == images * (2 + len(docs))
    assert before.tokens_reused == 0


@pytest.mark.parametrize("kind", ["lora", "ia3", "shira"])
def test_with_an_adapter(folders, monkeypatch, tmp_path, kind):
    peft = str(make_adapter(folders(), tmp_path / kind, kind))
    expected, _ = plain(folders(), leaf(1), monkeypatch, peft=peft)
    model = made(folders(), peft=peft)
    assert ask(model, leaf(1)) == expected
    assert model.engine.counts.tokens_reused


def test_stop_texts_are_looked_for_in_the_answer_only(folders, monkeypatch):
    settings = {**SETTINGS, "max_new_tokens": 12, "until": []}
    whole, _ = plain(folders(), leaf(1), monkeypatch, settings)
    settings["until"] = ["<" + text.split("<")[4] for text in whole]
    expected, _ = plain(folders(), leaf(1), monkeypatch, settings)
    assert expected != whole
    assert ask(made(folders()), leaf(1), settings) == expected


def test_another_face_in_the_same_words_is_not_shared(folders, monkeypatch):
    def messages(doc):
        turns = to_messages(doc)
        if doc["question_index"] == 3:
            turns[2]["content"][0]["url"] = picture(77)  # the second example shows someone else
        return turns

    expected, _ = plain(folders(), leaf(1), monkeypatch, messages=messages)
    model = made(folders())
    assert ask(model, leaf(1), messages=messages) == expected
    counts = model.engine.counts
    assert counts.tokens_reused
    assert counts.images_encoded == 3 + len(QUESTIONS)  # the second example shows two faces


def test_several_leaves_in_one_run(folders, monkeypatch):
    from asking import SPLIT, TASK, requests

    docs = {TASK: leaf(1), "other": leaf(0), "zero_shot": leaf(1, shots=0)}
    model = made(folders(), batch_size=8)
    model.task_dict = {task: {SPLIT: rows} for task, rows in docs.items()}
    asked = []
    for task, rows in docs.items():
        for request in requests(rows):
            context, messages, settings, doc_id, _, split = request.arguments
            request.arguments = (context, messages, settings, doc_id, task, split)
            asked.append(request)
    answers = model.generate_until(asked)
    expected = [answer for rows in docs.values() for answer in plain(folders(), rows, monkeypatch)[0]]
    assert answers == expected
    assert model.engine.counts.images_encoded == 2 + len(QUESTIONS)  # two leaves show the same people


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize("family", SHARING)
def test_other_causal_architectures_share_too(folders, monkeypatch, family, images):
    """Positions by the model's own rule, also where they follow image grids."""
    expected, before = plain(folders(family), leaf(images), monkeypatch)
    assert len(set(expected)) > 3
    model = made(folders(family))
    assert ask(model, leaf(images)) == expected
    counts = model.engine.counts
    shared = counts.tokens_reused // len(QUESTIONS)
    assert shared > 16
    assert counts.tokens_prefilled == before.tokens_prefilled - (len(QUESTIONS) - 1) * shared


@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl"])
def test_a_prompt_that_begins_otherwise_is_answered_whole(folders, monkeypatch, family):
    """Images of other sizes become other tokens, which the words do not show."""

    def messages(doc):
        turns = to_messages(doc)
        if doc["question_index"] == 2:
            for turn in turns[::2]:
                turn["content"][0]["url"] = turn["content"][0]["url"].resize((112, 56))
        return turns

    expected, _ = plain(folders(family), leaf(1), monkeypatch, messages=messages)
    model = made(folders(family))
    assert ask(model, leaf(1), messages=messages) == expected


@pytest.mark.parametrize("family", ["gemma3", "mllama", "paligemma"])
def test_other_architectures_take_plain_batches(folders, family):
    model = made(folders(family))
    ask(model, leaf(1))
    assert model.engine.counts.tokens_reused == 0


@pytest.fixture
def with_window(folders, tmp_path):
    """A folder of a family whose text model looks back over so many tokens only."""

    def folder(family: str, window: int):
        made = shutil.copytree(folders(family), tmp_path / f"{family}_{window}")
        config = json.loads((made / "config.json").read_text())
        config["text_config"] |= {"model_type": "mistral", "sliding_window": window}
        (made / "config.json").write_text(json.dumps(config))
        return made

    return folder


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("family", ["llava", "idefics2"])
def test_a_window_must_reach_over_the_whole_batch(with_window, monkeypatch, family, shots):
    """Padding between the examples and the question would stand in it."""
    monkeypatch.setattr("mllmu_tasks.models.engine.same_images.WORTH_TOKENS", 2)
    docs = [doc | {"person": "001"} for doc in leaf(1, shots)]
    for window in (12, 1000):
        folder = with_window(family, window)
        expected, _ = plain(folder, docs, monkeypatch)
        model = made(folder, 8)
        assert ask(model, docs) == expected
        assert bool(model.engine.counts.tokens_reused) == (window == 1000)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ({}, None),
        ({"sliding_window": None}, None),
        ({"sliding_window": 64}, 64),
        ({"sliding_window": 64, "layer_types": ["full_attention"] * 2}, None),
        ({"sliding_window": 64, "layer_types": ["full_attention", "sliding_attention"]}, 64),
        ({"layer_types": ["full_attention", "linear_attention"]}, 0),
    ],
)
def test_reach(text, tokens):
    assert reach(SimpleNamespace(**text)) == tokens


@pytest.mark.parametrize("settings", [{"do_sample": True, "temperature": 1.0}, {"num_beams": 2}])
def test_sampling_and_beams_take_plain_batches(folders, settings):
    model = made(folders())
    assert all(ask(model, leaf(1), {"max_new_tokens": 3, **settings}))
    assert model.engine.counts.tokens_reused == 0


@pytest.mark.parametrize(
    ("prompts", "images", "found"),
    [
        ([[1, 2, 3, 4], [1, 2, 5]], [(), ()], (2, 0)),
        ([[1, 2, 3], [1, 2, 3, 4]], [(), ()], (2, 0)),  # a token is left of each
        ([[1, 2], [3, 4]], [(), ()], (0, 0)),
        ([[1, MARK, 2, 3], [1, MARK, 2, 4]], [("a",), ("a",)], (3, 1)),
        ([[1, MARK, 2, 3], [1, MARK, 2, 4]], [("a",), ("b",)], (1, 0)),
        ([[1, MARK, MARK, 3], [1, MARK, MARK, 4], [1, MARK, MARK, 4]], [("a", "b"), ("a", "c"), ("a", "b")], (2, 1)),
        ([[1, MARK, 2, 3, MARK], [1, MARK, 2, 4]], [("a", "b"), ("a",)], (3, 1)),
    ],
)
def test_find(prompts, images, found):
    assert find(prompts, images, MARK) == found


def test_a_run_of_marks_is_known_as_such():
    tokens = [*range(20, 40), MARK, 1, MARK]
    assert unfold(tokens, MARK, 2) == [*range(20, 40), MARK, MARK, 1, MARK, MARK]
    assert run_of(unfold(tokens, MARK, 4), tokens, MARK) == 4
    assert run_of([1, 2, 3], [1, 2, 3], MARK) == 1
    framed = [*tokens[:20], 7, *[MARK] * 3, 1, 7, *[MARK] * 3]
    assert run_of(framed, tokens, MARK) is None
    assert run_of([0, 1, 2, 3], [1, 2, 3], MARK) is None
