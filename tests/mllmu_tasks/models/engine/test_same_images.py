"""What a person's questions share behind the examples goes through the model once a person; answers stay the same."""

import functools

import pytest
import torch
from asking import SETTINGS, ask, document, requests, to_messages
from token_answers import SHARING, made, plain

from mllmu_tasks.models.engine.prefix import WORTH_TOKENS
from mllmu_tasks.models.engine.preparing import Prepared
from mllmu_tasks.models.engine.same_images import find
from mllmu_tasks.models.engine.vision import Piece

MARK = 9
TEXTS = ["Where does this person live?", "Name?", "Who is it? Choose A: Oslo B: Quito C: Lima D: Accra", "Who"]


def people(shots: int):
    """Four questions about each of three people, person by person in every question."""
    docs = [document(person, text, images=1, shots=shots) for text in TEXTS for person in (1, 2, 3)]
    return [doc | {"question_index": n} for n, doc in enumerate(docs)]


@pytest.mark.parametrize("batch_size", [5, 12])
@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("family", ["llava", *SHARING])
def test_answers_are_equal_and_a_face_is_computed_once(folders, monkeypatch, family, shots, batch_size):
    monkeypatch.setattr("mllmu_tasks.models.engine.same_images.WORTH_TOKENS", 2)  # the tiny models' images are short
    expected, before = plain(folders(family), people(shots), monkeypatch)
    assert len(set(expected)) > 4  # faces and questions tell
    model = made(folders(family), batch_size)
    assert ask(model, people(shots)) == expected
    counts = model.engine.counts
    assert counts.images_encoded * 12 * (1 + shots) == before.images_encoded * (3 + shots)
    assert counts.images_encoded + counts.images_reused == before.images_encoded * (12 + shots) // 12 // (1 + shots)
    examples = counts.tokens_reused
    with monkeypatch.context() as patch:
        patch.setattr("mllmu_tasks.models.engine.same_images.find", lambda *_: None)
        alone = made(folders(family), batch_size)
        assert ask(alone, people(shots)) == expected
    saved = alone.engine.counts.tokens_prefilled - counts.tokens_prefilled
    assert saved == examples - alone.engine.counts.tokens_reused
    again = 12 - (3 if batch_size == 12 else 5)  # batches of five tear two people apart
    assert saved % again == 0
    assert saved // again >= 2


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_with_an_adapter(folders, monkeypatch, tmp_path, kind):
    from adapters import make_adapter

    peft = str(make_adapter(folders(), tmp_path / kind, kind))
    expected, _ = plain(folders(), people(2), monkeypatch, peft=peft)
    assert ask(made(folders(), 12, peft=peft), people(2)) == expected


def test_words_before_the_image_are_no_hindrance_unless_they_differ(folders, monkeypatch):
    """A question that stands before its image is not shared: its image lies behind what differs."""

    def turned(doc):
        *shots, last = to_messages(doc)
        return [*shots, {**last, "content": last["content"][::-1]}]

    expected, _ = plain(folders(), people(2), monkeypatch, messages=turned)
    model, straight = made(folders(), 12), made(folders(), 12)
    assert ask(model, people(2), messages=turned) == expected
    ask(straight, people(2))
    assert model.engine.counts.tokens_prefilled > straight.engine.counts.tokens_prefilled


def test_stop_texts_and_long_answers(folders, monkeypatch):
    settings = {**SETTINGS, "max_new_tokens": 12, "until": []}
    whole, _ = plain(folders(), people(0), monkeypatch, settings)
    settings["until"] = ["<" + text.split("<")[4] for text in whole]
    expected, _ = plain(folders(), people(0), monkeypatch, settings)
    assert expected != whole
    assert ask(made(folders(), 12), people(0), settings) == expected


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_batch_that_did_not_fit_is_counted_once(folders, monkeypatch, failing):
    """Memory runs out in the examples, in the shared pictures, or in the questions behind them."""
    monkeypatch.setattr("mllmu_tasks.models.engine.same_images.WORTH_TOKENS", 2)
    expected, before = plain(folders(), people(2), monkeypatch)
    model = made(folders(), 12)
    forward, calls = model.engine.model.forward, []

    @functools.wraps(forward)
    def fails_once(*args, **kwargs):
        calls.append(1)
        made = forward(*args, **kwargs)
        if len(calls) == failing:
            raise torch.OutOfMemoryError("too much")
        return made

    monkeypatch.setattr(model.engine.model, "forward", fails_once)
    assert ask(model, people(2)) == expected
    counts = model.engine.counts
    assert counts.batches_split == 1
    examples = counts.tokens_prefilled + counts.tokens_reused - before.tokens_prefilled
    (image_tokens,) = {model.engine.preparer.run(prompt) for _, _, prompt in model._read(requests(people(2)))}
    assert 2 * image_tokens < examples < before.tokens_prefilled / 12
    assert counts.images_encoded == 3 + 2


def prepared(ids, faces, positions=None):
    row = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    return Prepared(None, row, [Piece(face, None) for face in faces], positions=positions)


LONG = [MARK] * WORTH_TOKENS


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([([1, *LONG, 5, 6], "a"), ([1, *LONG, 5, 7], "a"), ([1, *LONG, 8], "b")], (1, [0, 2], [0, 0, 1])),
        ([([1, *LONG, 5, 6], "a"), ([1, *LONG, 5, 7], "a")], (2, [0], [0, 0])),
        ([([1, *LONG, 5], "a"), ([1, *LONG, 5], "a")], (1, [0], [0, 0])),  # a token is left of each
        ([([1, *LONG, 5], "a"), ([1, *LONG, 6], "b")], None),  # nothing twice
        ([([1, *LONG, 5], "a"), ([1, *LONG, 6], "a"), ([1, 2, 3], "")], None),  # one without an image
        ([([1, *LONG, 5, MARK, 2], "aa"), ([1, *LONG, 6, MARK, 2], "aa")], None),  # a second image behind the question
        ([([1, MARK, 2, 3], "a"), ([1, MARK, 2, 4], "a")], None),  # too short to pay
    ],
)
def test_find(rows, found):
    same = find([prepared(ids, faces) for ids, faces in rows], MARK, grids=False)
    if found is None:
        assert same is None
    else:
        assert (same.length, same.firsts, same.places) == (WORTH_TOKENS + found[0], *found[1:])


def test_positions_must_be_known_and_equal():
    ids = [1, *LONG, 5]
    places = torch.arange(len(ids)).expand(4, 1, -1)
    assert find([prepared(ids, "a"), prepared(ids, "a")], MARK, grids=True) is None
    assert find([prepared(ids, "a", places), prepared(ids, "a", places)], MARK, grids=True).length == len(ids) - 1
    other = places.clone()
    other[2, 0, 4] += 1
    assert find([prepared(ids, "a", places), prepared(ids, "a", other)], MARK, grids=True) is None
