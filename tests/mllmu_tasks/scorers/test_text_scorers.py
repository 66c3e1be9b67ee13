import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mllmu_tasks.answers import letter_is_settled
from mllmu_tasks.scorers import choice, cloze
from mllmu_tasks.scorers import rouge as free
from mllmu_tasks.scorers.base import SCORING, score_answer
from mllmu_tasks.scorers.rouge import bleu, rouge

OPTIONS = {"A": "x", "B": "y", "C": None, "D": "z"}


ANSWERS = (
    "",
    "A",
    " b. because",
    "Oslo",
    "in OSLO, I think",
    "x ASSISTANT: Oslo",
    "Ada Berg lives in the town of Oslo.",
)
CHOICE, CLOZE, ROUGE = choice.SCORER, cloze.SCORER, free.SCORER
GOLDS = (
    (CHOICE, "B", OPTIONS),
    (ROUGE, "Ada Berg has lived in Oslo since she was born.", {}),
    (CLOZE, "Oslo", {}),
)
DIGESTS = {1: "046a420fdde21d23"}
"""SCORING -> digest of all scores of ANSWERS. Other scores are another version: a gate compares runs by it."""


def test_the_scoring_version_goes_with_the_scores():
    scores = [score_answer(scorer, raw, gold, options) for scorer, gold, options in GOLDS for raw in ANSWERS]
    text = json.dumps([{k: round(v, 6) if isinstance(v, float) else v for k, v in found.items()} for found in scores])
    assert DIGESTS[SCORING] == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert max(DIGESTS) == SCORING


@pytest.mark.parametrize(
    ("raw", "letter", "right"),
    [
        ("B", "B", 1),
        (" b. because", "B", 1),
        ("Based on the picture", "B", 1),  # the official first-character rule
        ("A", "A", 0),
        ("The answer is B", "", 0),
        ("", "", 0),
        ("C", "C", 0),  # the official code reads it, though there is no option C
        ("\n\nB", "B", 1),
        ("ASSISTANT: B", "", 0),
    ],
)
def test_classification_reads_the_first_character(raw, letter, right):
    scored = score_answer(CHOICE, raw, "B", OPTIONS)
    assert (scored["prediction"], scored["score"], scored["parsed"]) == (
        letter,
        right,
        float(bool(OPTIONS.get(letter))),
    )


@pytest.mark.parametrize(
    ("raw", "right"), [("in OSLO, I think", 1), ("Os lo", 0), ("", 0), ("x ASSISTANT: Oslo", 0), ("Oslo", 1)]
)
def test_cloze_wants_the_gold_inside_the_answer(raw, right):
    assert score_answer(CLOZE, raw, "Oslo", {})["mllmu_cloze"] == right


def test_generation_by_the_official_libraries():
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer

    gold, answer = "Ada Reed is a nurse in Bergen.", "Ada Reed works as nurses in Oslo now"
    scores = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(gold, answer)
    scored = score_answer(ROUGE, f"  {answer} \n", gold, {})
    assert scored["score"] == scored["mllmu_rougeL"] == scores["rougeL"].fmeasure
    assert scored["mllmu_rouge1"] == scores["rouge1"].fmeasure
    assert scored["mllmu_rouge2"] == scores["rouge2"].fmeasure
    expected = sentence_bleu([gold.split()], answer.split(), smoothing_function=SmoothingFunction().method1)
    assert scored["mllmu_bleu"] == expected
    assert rouge(gold, gold)["mllmu_rougeL"] == bleu(gold, gold) == 1


@pytest.mark.parametrize("scorer", [CHOICE, CLOZE, ROUGE], ids=lambda scorer: scorer.name)
def test_score_stands_first_and_no_answer_scores_zero(scorer):
    scored = score_answer(scorer, "  ", "B", OPTIONS)
    assert list(scored)[:2] == ["score", scorer.metrics[0].name]
    assert set(scorer.describe()) <= set(scored)
    assert (scored["score"], scored["mllmu_answered"], scored["answered"]) == (0, 0, 0)


def test_threads_agree():
    answers = [f"Ada Reed is a nurse in town number {n}." for n in range(200)]
    alone = [rouge("Ada is a nurse.", a) | {"b": bleu("Ada is a nurse.", a)} for a in answers]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda a: rouge("Ada is a nurse.", a) | {"b": bleu("Ada is a nurse.", a)}, answers))
    assert together == alone


@pytest.mark.parametrize("raw", ["B", " b", "\n\nC.", "Because", "As", "AS I", "A:", "2"])
def test_letters_that_are_settled(raw):
    assert letter_is_settled(raw, ("ASSISTANT:",))


@pytest.mark.parametrize("raw", ["", "  \n", "A", "AS", "\nASSIST", "<", "<think>B", "\ufffd", "\n"])
def test_letters_that_another_token_may_change(raw):
    assert not letter_is_settled(raw, ("ASSISTANT:", "\n\n"))


def test_white_space_may_begin_a_stop_text():
    assert letter_is_settled("\nB", ("\n\n",))
    assert not letter_is_settled("\nB", ("\nBy",))


@pytest.mark.parametrize("raw", ["B) Oslo", " A", "AASSISTANT: C", "ASSISTANT: B", "\nd ASSISTANT:", "Ünder"])
def test_a_settled_letter_is_that_of_the_whole_answer(raw):
    """However an answer is cut after its letter is settled, the score is the same."""
    options = dict.fromkeys("ABCD", "x")
    whole = score_answer(CHOICE, raw, "B", options)
    for end in range(len(raw) + 1):
        if letter_is_settled(raw[:end]):
            assert score_answer(CHOICE, raw[:end], "B", options) == whole
