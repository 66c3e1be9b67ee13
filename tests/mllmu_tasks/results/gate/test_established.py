"""HELD says: this model was asked these questions and answered so. Whatever is not established is UNDECIDED."""

import json
import shutil
from xml.etree import ElementTree

import pytest
import recorded

from mllmu_tasks.results.gate.judge import judge
from mllmu_tasks.results.gate.outcomes import Verdict
from mllmu_tasks.results.gate.policy import parse_policy
from mllmu_tasks.results.gate.printing import as_json, junit, markdown, text
from mllmu_tasks.results.gate.sides import open_side

FORGET, TEST, RETAIN = "mllmu_forget_cloze_image", "mllmu_test_cloze_image", "mllmu_retain_cloze_image"
RULES = """
rules:
  - {split: [forget, test], task: cloze, modality: image, at_most: 0.3333}
  - {split: retain, task: cloze, modality: image, at_least: baseline or reference - 0.05}
"""
IDS = [f"{number:03}" for number in range(1, 21)]


def people(scores, ids=IDS):
    return {person: list(scores) for person in ids}


GOOD = {FORGET: people([0, 0]), TEST: people([0, 0]), RETAIN: people([1, 0], [f"{n}" for n in range(100)])}
KNOWS = GOOD | {FORGET: people([1, 1]), TEST: people([1, 1])}


@pytest.fixture
def good(write_judged):
    """write(name, **of write_judged) -> a run that passes beside an honest baseline."""
    return lambda name="good", **more: write_judged(name, GOOD, **more)


@pytest.fixture
def vanilla(write_judged):
    return write_judged("vanilla", KNOWS)


def gate(results, baseline=None, reference=None, declared="", **more):
    sides = {
        role: open_side(role, [side], 0.95) for role, side in (("baseline", baseline), ("reference", reference)) if side
    }
    rules = parse_policy(RULES + (f"declared: {declared}\n" if declared else ""), "p")
    return judge(rules, open_side("results", [results], 0.95), **sides, **more)


def refused(found, *words):
    """UNDECIDED, not to be let pass as a warning, for this reason."""
    assert (found.verdict, found.exit_code) == (Verdict.UNDECIDED, 2), found.problems
    assert found.incomplete
    assert any(all(word in str(problem) for word in words) for problem in found.problems), found.problems
    return True


def test_an_honest_pair_is_held_and_says_what_is_proved(good, vanilla):
    found = gate(good(), vanilla)
    assert found.exit_code == 0
    assert found.proved == (
        "results: answered by weights bbbbbbbb with adapter aaaaaaaa (Llava, 4 layers of 64)",
        "baseline: answered by weights bbbbbbbb (Llava, 4 layers of 64)",
        "results: 20 people are forgotten by the model's own record",
        "baseline: is the untouched model that was unlearned",
        "results: asked about data None (w1)",
    )
    assert found.declared == ()
    for shown in (text(found), markdown(found)):
        assert "is the untouched model that was unlearned" in " ".join(shown.split())
    assert json.loads(as_json(found))["proved"] == list(found.proved)
    properties = ElementTree.fromstring(junit(found).split("\n", 1)[1]).findall(".//property")
    assert [p.get("value") for p in properties if p.get("name") == "proved"] == list(found.proved)


@pytest.mark.parametrize(
    ("key", "value"), [("whole_data", "w2"), ("seed", 7), ("shots", [0, 0]), ("shot_questions", 3), ("scoring", 99)]
)
def test_all_leaves_are_asked_in_one_way(good, vanilla, key, value):
    def change(leaf, facts, config):
        if leaf in (FORGET, TEST):
            facts[key] = value

    assert refused(gate(good(change=change), vanilla, warn=True), key)


def of_forget(edit):
    return lambda leaf, facts, config: edit(config) if leaf == FORGET else None


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda config: config.update(generation_kwargs={**recorded.GENERATION, "max_new_tokens": 1}),
            ("max_new_tokens is 1 for 50", FORGET),
        ),
        (lambda config: config.update(reasoning_tags=[["a", "z"]]), ("another task file than mllmu ships", FORGET)),
        (dict.clear, ("lacks the task configuration", FORGET)),
    ],
)
def test_another_task_file_is_found(good, vanilla, edit, words):
    assert refused(gate(good(change=of_forget(edit)), vanilla), *words)


def test_settings_of_the_command_line_are_declared_or_refused(good, write_judged):
    def shorter(leaf, facts, config):
        config["generation_kwargs"] = {**recorded.GENERATION, "max_new_tokens": 5}

    short, before = good(change=shorter), write_judged("before", KNOWS, change=shorter)
    assert refused(gate(short, before), "max_new_tokens is 5 for 50")
    found = gate(short, before, declared="{gen_kwargs: {max_new_tokens: 5}}")
    assert found.exit_code == 0
    assert found.declared == ("generation settings {'max_new_tokens': 5}",)
    whole = write_judged("before2", KNOWS)
    assert refused(gate(short, whole, declared="{gen_kwargs: {max_new_tokens: 5}}"), "generation settings")


def test_a_system_text_is_declared_or_refused(good, write_judged):
    from mllmu_tasks.artifacts.identity import short_hash

    def told(leaf, facts, config):
        facts["answered_by"] |= {"system": short_hash("Say no."), "system_of": "command line"}

    silent, before = good(change=told), write_judged("before", KNOWS, change=told)
    assert refused(gate(silent, before), "a system text was given on the command line")
    assert gate(silent, before, declared="{system_prompt: Say no.}").exit_code == 0
    untold = write_judged("before2", KNOWS)
    assert refused(gate(silent, untold, declared="{system_prompt: Say no.}"), "the system text is not that")
    of_backend = good("b", model_args="pretrained=m,peft=b,system_prompt=Say no.")
    assert refused(gate(of_backend, before), "a system text was given")


@pytest.mark.parametrize(("flag", "value"), [("reasoning_tags", '[["a", "z"]]'), ("cache_requests", "true")])
def test_flags_that_change_questions_or_answers_are_refused(good, vanilla, flag, value):
    assert refused(gate(good(config={"resolved_cli_args": {flag: value}}), vanilla), f"--{flag}")


def test_a_baseline_is_the_untouched_model_that_was_unlearned(good, vanilla, write_judged):
    judged = good()
    assert refused(gate(judged, judged), "is the judged run itself")
    shutil.copytree(judged, judged.parent / "copy")
    assert refused(gate(judged, judged.parent / "copy"), "is the judged run itself")
    again = write_judged("before again", GOOD, role="adapter")
    assert refused(gate(judged, again), "has an adapter")
    assert refused(gate(judged, write_judged("before other", KNOWS, role="reference")), "is another model")
    recast = write_judged("before recast", KNOWS, change=lambda leaf, f, c: f["answered_by"].update(dtype="torch.int8"))
    assert refused(gate(judged, recast), "the dtype is torch.int8, in the results torch.float32")
    other = {"processor": "p2"}
    reshaped = write_judged("before reshaped", KNOWS, change=lambda leaf, f, c: f["answered_by"].update(other))
    assert refused(gate(judged, reshaped), "the processor is not that of the results")
    control = gate(vanilla, vanilla)
    assert control.exit_code == 1  # that it remembers is shown all the same


def test_an_adapter_put_on_by_declaration_has_no_proved_base(good, vanilla):
    def put_on(leaf, facts, config):
        facts["answered_by"] |= {"base_by": "declared", "made_from": "f" * 32}

    judged = good(change=put_on)
    assert refused(gate(judged, vanilla), "nothing shows that it is the model before unlearning")
    assert gate(judged, vanilla, declared=f"{{base: {recorded.BASE}}}").exit_code == 0


def test_a_checkpoint_names_its_base_by_its_record_or_the_caller_does(good, write_judged, vanilla):
    def merged(leaf, facts, config):
        facts["answered_by"] |= {"adapter": "", "weights": "d" * 32}

    def bare(leaf, facts, config):
        merged(leaf, facts, config)
        facts["answered_by"] |= {"made_from": "", "forgot": None}

    assert gate(good("merged", change=merged), vanilla).exit_code == 0
    unknown = good("bare", change=bare)
    assert refused(gate(unknown, vanilla), "nothing shows that it is the model before unlearning")
    assert refused(gate(unknown, vanilla), "nothing says whom the model forgot")
    found = gate(unknown, vanilla, declared=f"{{base: {recorded.BASE}, people: {json.dumps(IDS)}}}")
    assert found.exit_code == 0
    assert found.declared == (
        "results: 20 people are forgotten",
        f"baseline: '{recorded.BASE}' is the model that was unlearned",
    )
    wrong = f"{{base: {recorded.OTHER}, people: {json.dumps(IDS)}}}"
    assert refused(gate(unknown, vanilla, declared=wrong), "the policy declares 'cccc")


def test_a_declaration_does_not_stand_against_a_record(good, vanilla):
    assert refused(gate(good("g1"), vanilla, declared="{people: ['x']}"), "the policy declares x as forgotten")
    assert refused(gate(good("g2"), vanilla, declared="{weights: elsewhere}"), "declares 'elsewhere' as weights")
    assert refused(gate(good("g3"), vanilla, declared="{data: w9}"), "the policy declares w9")
    assert gate(good("g4"), vanilla, declared=f"{{weights: {recorded.ADAPTER}, data: w1}}").exit_code == 0


def test_a_backend_of_others_is_what_the_caller_declares(write_judged):
    def silent(leaf, facts, config):
        del facts["answered_by"]

    stock = {"change": silent, "config": {"model": "qwen2_5_vl"}}
    judged = write_judged("q", GOOD, model_args="pretrained=owner/merged", **stock)
    before = write_judged("before", KNOWS, model_args="pretrained=owner/base", **stock)
    for word in ("declare 'weights'", "declare 'base'", "declare 'people'"):
        assert refused(gate(judged, before), word)
    ids = json.dumps(IDS)
    found = gate(judged, before, declared=f"{{weights: owner/merged, base: owner/base, people: {ids}}}")
    assert found.exit_code == 0
    assert "results: weights is 'owner/merged'; which weights answered is not recorded" in found.declared
    same = f"{{weights: owner/merged, base: owner/merged, people: {ids}}}"
    again = write_judged("again", KNOWS, model_args="pretrained=owner/merged", **stock)
    assert refused(gate(judged, again, declared=same), "has the model arguments of the judged run")


def test_a_reference_is_another_model_of_the_same_architecture(good, write_judged):
    judged = good()
    assert gate(judged, reference=write_judged("never", GOOD, role="reference")).exit_code == 0
    assert refused(gate(judged, reference=judged), "is the judged run itself")
    assert refused(gate(judged, reference=write_judged("same", GOOD)), "is the judged model itself")
    assert refused(gate(judged, reference=write_judged("vanilla", GOOD)), "has the weights of the model that was unl")
    small = write_judged(
        "small", GOOD, role="reference", change=lambda leaf, f, c: f["answered_by"].update(architecture="Other")
    )
    assert refused(gate(judged, reference=small), "is a Other")


def test_a_reference_that_never_saw_them_is_proved_by_its_record_alone(good, write_judged):
    plain = gate(good(), reference=write_judged("never", GOOD, role="reference"))
    assert "reference: whether it never saw these people is recorded nowhere" in plain.open
    by_record = write_judged("r", GOOD, role="reference", change=lambda leaf, f, c: f["answered_by"].update(forgot=IDS))
    assert (
        "reference: was trained without these people by its own record" in gate(good("g2"), reference=by_record).proved
    )


def test_replayed_answers_are_refused_until_they_are_allowed(write_judged):
    replay = {"config": {"model": "mllmu_replay"}}
    judged = write_judged("gold", GOOD, model_args="answers=gold", **replay)
    before = write_judged("before", KNOWS, model_args="answers=file:x", **replay)
    assert refused(gate(judged, before, warn=True), "answers were replayed")
    assert gate(before, judged).exit_code == 1
    found = gate(judged, before, allow_replay=True)
    assert found.exit_code == 0
    assert any("no model was asked" in line for line in found.open)


def test_results_of_an_earlier_version_open_and_are_undecided(write_judged, vanilla):
    def older(leaf, facts, config):
        for key in ("whole_data", "scoring", "configuration", "generation", "answered_by", "whom"):
            del facts[key]

    old = write_judged("old", GOOD, change=older)
    for words in ("does not record whole_data, scoring", "does not say which weights answered"):
        assert refused(gate(old, vanilla), words)
    assert gate(write_judged("vanilla old", KNOWS, change=older)).exit_code == 1


def test_leaves_of_two_models_are_no_verdict(good, vanilla):
    def change(leaf, facts, config):
        if leaf == FORGET:
            facts["answered_by"] |= {"adapter": "e" * 64}

    assert refused(gate(good(change=change), vanilla), "was answered by weights bbbbbbbb with adapter eeeeeeee")


def test_kept_answers_name_their_run_and_other_benchmarks_are_named(good, vanilla):
    kept = good(
        change=lambda leaf, f, c: f["answered_by"].update(kept={"journal": {"answers": 8, "run": "0123456789"}})
    )
    found = gate(kept, vanilla)
    assert found.exit_code == 0
    assert any("8 answers are those of an earlier run" in line and "01234567" in line for line in found.proved)
    assert any("mmmu_val are taken as they were logged" in line for line in found.open)


@pytest.mark.parametrize("record", [[], "x", {"weights": 3}, {"weights": "b" * 32, "forgot": {"a": 1}, "kept": [1]}])
def test_a_record_of_another_shape_counts_as_none(good, vanilla, record):
    found = gate(good(change=lambda leaf, f, c: f.update(answered_by=record)), vanilla)
    assert found.exit_code == 2
