"""Runs of `mllmu unlearn`, one after the other, as one of two processes; argv: a JSON file of flag lists."""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    assert os.environ["WORLD_SIZE"] == "2"
    from mllmu_unlearn.config.commands import UnlearnConfig, parse
    from mllmu_unlearn.training import run

    for flags in json.loads(Path(sys.argv[1]).read_text()):
        config = parse(UnlearnConfig, flags)
        assert config.world_size == 2
        run.unlearn(config)
