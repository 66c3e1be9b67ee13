"""Answers survive whatever ends the run, and only the same request of the same model finds them again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
from adapters import make_adapter
from asking import MIXED, SETTINGS, ask, document, picture
from places import TESTS

from mllmu_tasks.artifacts.identity import ImageHashes
from mllmu_tasks.harness import answer_store
from mllmu_tasks.harness.answer_store import PROCESS, Journal, request_keys, tidy
from mllmu_tasks.harness.hf import MllmuHf


def made(folder, **arguments):
    return MllmuHf(**{"pretrained": str(folder), "device": "cpu", **arguments})


def journals(cache):
    return sorted((cache / "answers").glob("*.jsonl"))


def interrupt_after(model, batches):
    answer, count = model.engine.answer, []

    def answers(given):
        if len(count) == batches:
            raise KeyboardInterrupt
        count.append(1)
        return answer(given)

    model.engine.answer = answers


def test_an_interrupted_run_goes_on_and_says_so(folders, own_cache, capsys):
    whole = ask(made(folders(), batch_size=2), MIXED)
    assert "answers in" not in capsys.readouterr().err
    shutil.rmtree(own_cache)

    first = made(folders(), batch_size=2)
    interrupt_after(first, 2)
    with pytest.raises(SystemExit) as left:
        ask(first, MIXED)
    assert left.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    (file,) = journals(own_cache)
    assert len(file.read_text().splitlines()) == 4

    second = made(folders(), batch_size=3)
    assert ask(second, MIXED) == whole
    assert f"mllmu_hf: continuing: 4 of 8 answers in {file}" in capsys.readouterr().err
    assert second.engine.counts.questions == 4
    assert journals(own_cache) == [file]


def by_another_process(file):
    """Make a finished journal look as if this process had not written it."""
    file.write_text(file.read_text().replace(f'"process": "{PROCESS}"', '"process": "another"'))


def test_answers_stay_until_they_are_scored_and_serve_the_same_run_again(folders, own_cache, capsys):
    """lmms-eval scores and writes after `generate_until` has returned; what ends it there loses no answer."""
    whole = ask(made(folders(), batch_size=2), MIXED)
    (file,) = journals(own_cache)
    by_another_process(file)
    again = made(folders(), batch_size=2)
    assert ask(again, MIXED) == whole
    assert again.engine.counts.questions == 0
    assert f"an earlier run like this one left 8 of 8 answers in {file}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda key, answer, seal: [key, "", seal],
        lambda key, answer, seal: [key, "other words", seal],
        lambda key, answer, seal: [key, answer, "seal of another"],
        lambda key, answer, seal: [key, answer],
    ],
)
def test_an_answer_that_was_changed_in_its_file_is_asked_again(folders, own_cache, capsys, change):
    """Emptied answers would be a perfect forgetting."""
    whole = ask(made(folders(), batch_size=2), MIXED)
    (file,) = journals(own_cache)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[2] = change(*lines[2])
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    by_another_process(file)
    again = made(folders(), batch_size=2)
    assert ask(again, MIXED) == whole
    assert again.engine.counts.questions == 1
    assert f"1 answers in {file} are not as they were written; asking again" in capsys.readouterr().err


def test_answers_of_one_run_do_not_serve_another(tmp_path):
    Journal(tmp_path / "one.jsonl").write(["k"], ["a"])
    shutil.copyfile(tmp_path / "one.jsonl", tmp_path / "two.jsonl")
    assert Journal(tmp_path / "one.jsonl").answers == {"k": "a"}
    assert (Journal(tmp_path / "two.jsonl").answers, Journal(tmp_path / "two.jsonl").spoilt) == ({}, 1)


def test_a_finished_run_is_asked_again_at_another_batch_size_or_in_the_same_process(folders, own_cache):
    for size, elsewhere in ((2, True), (4, False), (4, True)):
        model = made(folders(), batch_size=size)
        ask(model, MIXED)
        assert model.engine.counts.questions == 8, (size, elsewhere)
        (file,) = journals(own_cache)
        if elsewhere:
            by_another_process(file)
    other = made(folders(), batch_size=4)
    ask(other, MIXED)
    assert other.engine.counts.questions == 0


def test_sampled_answers_of_a_finished_run_are_drawn_anew(folders, own_cache):
    sampling = {**SETTINGS, "do_sample": True, "temperature": 1.0}
    for _ in range(2):
        model = made(folders(), batch_size=4)
        ask(model, MIXED, sampling)
        assert model.engine.counts.questions == 8
        by_another_process(*journals(own_cache))


def test_other_code_of_ours_asks_again(folders, own_cache, monkeypatch):
    ask(made(folders(), batch_size=4), MIXED)
    by_another_process(*journals(own_cache))
    monkeypatch.setattr("mllmu_tasks.harness.hf.code", lambda: "changed")
    model = made(folders(), batch_size=4)
    ask(model, MIXED)
    assert model.engine.counts.questions == 8


def test_old_journals_go_and_those_of_today_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(answer_store, "BYTES_KEPT", 250)
    for days, name in ((0.1, "now"), (0.5, "today"), (2, "recent"), (3, "older"), (40, "ancient")):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("x" * 100)
        os.utime(file, (0, 1e9 - days * 86400))
    tidy(tmp_path, now=1e9)
    assert {file.stem for file in tmp_path.iterdir()} == {"now", "today"}
    monkeypatch.setattr(answer_store, "BYTES_KEPT", 150)
    tidy(tmp_path, now=1e9)
    assert {file.stem for file in tmp_path.iterdir()} == {"now", "today"}
    tidy(tmp_path / "absent")


def test_other_questions_models_adapters_or_settings_do_not_find_them(folders, own_cache, tmp_path):
    def left_behind(docs=MIXED, settings=None, **arguments):
        model = made(folders(), batch_size=2, **arguments)
        interrupt_after(model, 1)
        with pytest.raises(SystemExit):
            ask(model, docs, settings)
        return {file.name for file in journals(own_cache)}

    lora = make_adapter(folders(), tmp_path / "lora", "lora")
    runs = left_behind()
    assert left_behind() == runs
    for number, change in enumerate(
        [
            {"docs": MIXED[:-1]},
            {"docs": [*MIXED[:-1], document(9, MIXED[-1]["question"], images=1, shots=2)]},  # another face only
            {"settings": {**SETTINGS, "max_new_tokens": 5}},
            {"settings": {**SETTINGS, "until": ["x"]}},
            {"peft": str(lora)},
            {"prompt_style": "official"},
            {"system_prompt": "You know nobody."},
            {"dtype": "bfloat16"},
        ]
    ):
        runs = left_behind(**change)
        assert len(runs) == number + 2, change


def test_an_adapter_trained_again_starts_anew(folders, own_cache, tmp_path):
    lora = make_adapter(folders(), tmp_path / "lora", "lora")
    for _ in range(2):
        model = made(folders(), peft=str(lora), batch_size=2)
        interrupt_after(model, 1)
        with pytest.raises(SystemExit):
            ask(model, MIXED)
        make_adapter(folders(), lora, "lora", seed=1)
    assert len(journals(own_cache)) == 2


def test_a_killed_process_loses_only_its_last_batch(folders, own_cache, tmp_path, capsys):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(TESTS)!r})
        from asking import MIXED, ask
        from mllmu_tasks.harness.hf import MllmuHf
        model = MllmuHf(pretrained={str(folders())!r}, device="cpu", batch_size=2)
        generate, batches = model.engine.model.generate, []
        def dying(**inputs):
            batches.append(1)
            if len(batches) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return generate(**inputs)
        model.engine.model.generate = dying
        ask(model, MIXED)
        """)
    )
    ended = subprocess.run([sys.executable, script], env=os.environ.copy(), capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    (file,) = journals(own_cache)
    torn = file.read_text() + '["a key", "half an ans'
    file.write_text(torn)

    model = made(folders(), batch_size=2)
    interrupt_after(model, 1)
    with pytest.raises(SystemExit):
        ask(model, MIXED)  # what is written after the torn line is found too
    model = made(folders(), batch_size=2)
    assert ask(model, MIXED) == ask(made(folders(), batch_size=8), MIXED)
    assert model.engine.counts.questions == 2
    assert "continuing: 6 of 8" in capsys.readouterr().err


def test_a_failing_question_keeps_the_answers_before_it(folders, own_cache):
    model = made(folders(), batch_size=2)
    generate, batches = model.engine.model.generate, []

    def failing(**inputs):
        batches.append(1)
        if len(batches) > 2:
            raise RuntimeError("broken")
        return generate(**inputs)

    model.engine.model.generate = failing
    with pytest.raises(SystemExit):
        ask(model, MIXED)
    assert len(Journal(journals(own_cache)[0]).answers) == 4


def test_a_cache_that_cannot_be_written(folders, own_cache, capsys):
    own_cache.write_text("a file where the folder should be")
    with pytest.raises(SystemExit):
        ask(made(folders()), MIXED)
    assert "set MLLMU_CACHE" in capsys.readouterr().err


def test_two_processes_may_write_one_journal(tmp_path):
    one, two = Journal(tmp_path / "a.jsonl"), Journal(tmp_path / "a.jsonl")
    one.write(["a"], ["1"])
    two.write(["b", "c"], ["2", "line\nbreak"])
    one.write(["d"], ["ü"])
    assert Journal(tmp_path / "a.jsonl").answers == {"a": "1", "b": "2", "c": "line\nbreak", "d": "ü"}
    one.finish({"batch_size": 2})
    assert Journal(tmp_path / "a.jsonl").finished == {"batch_size": 2}
    two.start_anew()
    assert not (tmp_path / "a.jsonl").exists()
    assert (two.answers, two.finished) == ({}, None)


def test_keys_tell_where_one_part_ends():
    greedy = {"do_sample": False}
    keys = request_keys([("ab", ["c"], greedy), ("a", ["bc"], greedy), ("ab", [], greedy), ("ab", ["c"], greedy)])
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


def test_hashes_of_images_are_of_their_pixels():
    hash_of = ImageHashes()
    many = [picture(n) for n in range(200)]
    first = [hash_of(image) for image in many]
    assert [hash_of(image.copy()) for image in many] == first
    assert len(set(first)) == 200
    assert hash_of(many[0].resize((112, 28))) not in first
    assert hash_of(many[0].convert("L")) not in first
