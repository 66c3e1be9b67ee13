"""Question building: time and memory of `process_docs` for thousands of people, and how both grow.

    python benchmarks/questions.py                      # 5,000 people, images of 512 x 512
    python benchmarks/questions.py --people 5000 10000 20000 --size 64   # how it scales

All 24 leaves of the group `mllmu` are built, as one lmms-eval run builds them. The people are the mini benchmark's,
repeated under other ids; the images are JPEGs of noise. Each size runs in a process of its own.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mllmu_tasks.benchmarks.mini import data_folder
from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG, REAL_CONFIG, TEST_CONFIG, leaves

CELEBRITIES = 153
SOURCES = 16
MB = 1_000_000


def jpegs(count: int, size: int) -> list[bytes]:
    """Different JPEG files of noise; a decoder ignores the number behind the end."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(SOURCES):
        coarse = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return [made[n % SOURCES] + n.to_bytes(8, "little") for n in range(count)]


def write_benchmark(folder: Path, people: int, size: int) -> None:
    """The configs of the hub layout that the group `mllmu` reads."""
    ids = [f"{n:05d}" for n in range(people)]
    forget = ids[::20]
    for config, chosen, source in (
        (FULL_CONFIG, ids, FULL_CONFIG),
        ("forget_5", forget, FULL_CONFIG),
        ("retain_95", [i for i in ids if i not in set(forget)], FULL_CONFIG),
        (TEST_CONFIG, ids, TEST_CONFIG),
        (REAL_CONFIG, [f"C{n:03d}" for n in range(CELEBRITIES)], REAL_CONFIG),
    ):
        mini = pq.read_table(data_folder() / source)
        table = mini.take([int(name.lstrip("C")) % len(mini) for name in chosen])  # equal ids, equal people
        pictures = [{"bytes": data, "path": None} for data in jpegs(len(chosen), size)]
        column = "images" if "images" in mini.column_names else "image"
        values = [[picture] for picture in pictures] if column == "images" else pictures
        kind = mini.schema.field(column).type
        table = table.set_column(table.column_names.index(column), column, pa.array(values, kind))
        table = table.set_column(table.column_names.index("ID"), "ID", pa.array(chosen))
        (folder / config).mkdir()
        pq.write_table(table, folder / config / "train-00000-of-00001.parquet", row_group_size=100)


def resident() -> int:
    """Bytes of this process in memory, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Peak(threading.Thread):
    """The largest resident size while inside, looked at every millisecond."""

    def __enter__(self) -> "Peak":
        self.largest, self.running = resident(), True
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.running = False
        self.join()

    def run(self) -> None:
        while self.running:
            self.largest = max(self.largest, resident())
            time.sleep(0.001)


def measure(folder: Path) -> dict:
    """Build the questions of all leaves in this process."""
    os.environ["MLLMU_DATA"] = str(folder)
    from datasets import Dataset, NamedSplit
    from loguru import logger

    from mllmu_tasks.harness.task import leaf_docs

    logger.remove()
    before, began, busy = resident(), time.perf_counter(), time.process_time()
    with Peak() as peak:
        docs = [leaf_docs(Dataset.from_list([{"n": 0}], split=NamedSplit(leaf.name))) for leaf in leaves(5)]
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    tables = sum(pq.read_table(file).nbytes for file in folder.glob("*/*.parquet"))
    above = peak.largest - before - tables
    return {
        "seconds": seconds,
        "busy": busy,
        "above": above,
        "grown": peak.largest - before,
        "table": tables,
        "questions": sum(map(len, docs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, nargs="+", default=[5000])
    parser.add_argument("--size", type=int, default=512, help="pixels of a side")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(measure(Path(options.folder))))
        return
    for people in options.people:
        with tempfile.TemporaryDirectory() as folder:
            write_benchmark(Path(folder), people, options.size)
            again = [sys.executable, __file__, "--folder", folder]
            found = json.loads(
                subprocess.run(again, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
        print(
            f"{people:>6} people, {found['questions']:>7} questions: {found['seconds']:.1f} s "
            f"({found['busy']:.1f} s of processor time, {1000 * found['busy'] / people:.2f} ms a person); "
            f"memory grows by {found['grown'] / MB:.0f} MB, "
            f"the source table has {found['table'] / MB:.0f} MB, {found['above'] / MB:+.0f} MB above it",
            flush=True,
        )


if __name__ == "__main__":
    main()
