"""Two processes share the questions; each answers its own as one process would."""

import json
import os
import subprocess
import sys
import textwrap

from asking import MIXED, ask
from places import TESTS

from mllmu_tasks.harness.answer_store import Journal
from mllmu_tasks.harness.hf import MllmuHf


def test_two_processes_answer_as_one(folders, own_cache, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import json, sys
        from pathlib import Path
        sys.path.insert(0, {str(TESTS)!r})
        from asking import MIXED, ask
        from mllmu_tasks.harness.hf import MllmuHf
        model = MllmuHf(pretrained={str(folders())!r}, batch_size=2)
        assert model.world_size == 2
        answers = ask(model, MIXED[model.rank :: 2])
        Path({str(tmp_path)!r}, f"rank{{model.rank}}.json").write_text(json.dumps(answers))
        """)
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    ended = subprocess.run([sys.executable, *launch], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    alone = ask(MllmuHf(pretrained=str(folders()), device="cpu", batch_size=8), MIXED)
    for rank in range(2):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == alone[rank::2]
    assert ended.stderr.count("reading questions") == ended.stderr.count("reading questions:  ")  # one bar, of rank 0
    kept = [
        Journal(file) for file in (own_cache / "answers").iterdir()
    ]  # no process removes answers before the scoring
    assert sorted(len(journal.answers) for journal in kept) == [4, 4, 8]
    assert all(journal.finished for journal in kept)
