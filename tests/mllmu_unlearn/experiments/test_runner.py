import os
import signal
import subprocess
import sys
import time

import pytest

from mllmu_tasks.errors import UserError
from mllmu_unlearn.experiments.runner import Runner, Stage


class Record:
    def __init__(self):
        self.events = []

    def start(self, stage, log):
        self.events.append(("start", stage.name))

    def finish(self, stage, seconds, reused):
        self.events.append(("reused" if reused else "finished", stage.name))


def stage(tmp_path, name, code="", **more):
    output = tmp_path / "out" / name
    script = f"import os, sys; os.makedirs({str(output)!r}); {code}"
    return Stage(name=name, command=(sys.executable, "-c", script), output=output, **more)


def run(stages, tmp_path, workers=1):
    record = Record()
    Runner(stages, tmp_path, record, workers).run()
    return record.events


def test_order_follows_needs_and_a_second_run_reuses(tmp_path):
    stages = [stage(tmp_path, "b", needs=("a",)), stage(tmp_path, "a")]
    assert run(stages, tmp_path, workers=2) == [
        ("start", "a"),
        ("finished", "a"),
        ("start", "b"),
        ("finished", "b"),
    ]
    assert run(stages, tmp_path) == [("reused", "a"), ("reused", "b")]


def test_changed_inputs_run_the_stage_and_what_needs_it_again(tmp_path):
    run([stage(tmp_path, "a", identity="1"), stage(tmp_path, "b", needs=("a",))], tmp_path)
    events = run([stage(tmp_path, "a", identity="2"), stage(tmp_path, "b", needs=("a",))], tmp_path)
    assert [e for e in events if e[0] == "reused"] == []


def test_a_half_made_output_is_made_anew(tmp_path):
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "half").touch()
    run([stage(tmp_path, "a")], tmp_path)
    assert not (tmp_path / "out" / "a" / "half").exists()


def test_a_failed_stage_names_its_last_words_and_its_log(tmp_path):
    failing = stage(tmp_path, "a", "print('mllmu: error: no such adapter'); print('more'); sys.exit(2)")
    with pytest.raises(UserError, match=r"stage 'a' failed \(exit code 2\): mllmu: error: no such adapter \(log"):
        run([failing], tmp_path)


def test_a_stage_that_leaves_with_zero_behind_a_trace_names_its_exception(tmp_path):
    def check():
        raise UserError("there is no results file.")

    trace = "import traceback\ntry:\n    int('x')\nexcept ValueError:\n    traceback.print_exc()"
    with pytest.raises(UserError, match=r"left no result: ValueError: invalid literal .*'x' \(log: .*a.log\)"):
        run([stage(tmp_path, "a", f"exec({trace!r})", check=check)], tmp_path)


def test_exit_code_zero_without_a_result_is_a_failure(tmp_path):
    def check():
        raise UserError("nothing was scored.")

    with pytest.raises(UserError, match="left no result: nothing was scored"):
        run([stage(tmp_path, "a", check=check)], tmp_path)
    assert not (tmp_path / "stages" / "a.json").exists()


INTERRUPTED = """
import sys
from pathlib import Path
from mllmu_unlearn.experiments.runner import Runner, Stage

class Quiet:
    def start(self, stage, log): print("started", stage.name, flush=True)
    def finish(self, *_, **__): pass

home = Path(sys.argv[1])
def stage(name, code, needs=()):
    command = (sys.executable, "-c", f"import os, time; os.makedirs(r'{home / name}'); {code}")
    return Stage(name=name, command=command, output=home / name, needs=needs)

slow = "print(os.getpid(), flush=True); time.sleep(60)"
Runner([stage("quick", ""), stage("slow", slow, ("quick",))], home, Quiet()).run()
"""


def test_interrupt_ends_the_children_and_keeps_what_is_finished(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "logs" / "slow.log"
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(log.read_text().split()[0])
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in stderr
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert (tmp_path / "stages" / "quick.json").exists()
    assert not (tmp_path / "stages" / "slow.json").exists()


def test_keep_going_notes_what_failed_and_leaves_out_what_needs_it(tmp_path):
    record = Record()
    record.fail = lambda stage, reason: record.events.append(("failed", stage.name))
    stages = [
        stage(tmp_path, "a", "print('99%mllmu: error: no'); sys.exit(2)"),
        stage(tmp_path, "b", needs=("a",)),
        stage(tmp_path, "c"),
    ]
    runner = Runner(stages, tmp_path, record, keep_going=True)
    runner.run()
    assert record.events == [("start", "a"), ("failed", "a"), ("start", "c"), ("finished", "c")]
    assert runner.failed["b"] == "needs a"
    assert "(exit code 2): mllmu: error: no" in runner.failed["a"]
    assert runner.finished() == {"c"}


def test_each_worker_has_a_place_of_its_own(tmp_path):
    code = "open(os.path.join('{}', 'place'), 'w').write(os.environ['PLACE'])"
    stages = [stage(tmp_path, name, code.format(tmp_path / "out" / name)) for name in "abc"]
    Runner(stages, tmp_path, Record(), 2, places=[{"PLACE": "0"}, {"PLACE": "1"}]).run()
    places = [(tmp_path / "out" / name / "place").read_text() for name in "abc"]
    assert set(places[:2]) == {"0", "1"}
    assert places[2] in places[:2]
