"""What `mllmu check` decides: how often its default policy is right, wrong and undecided on simulated people.

`python benchmarks/gate_power.py power` prints the tables of docs/ci.md: before (a rule a modality, Gaffke's test for
everything), after (modalities pooled with guards, sign flips for falls), and as it would be without guards. `errors`
prints false alarms and false HELD where rules lie on their bounds, `falls` the least fall that a paired rule shows in
80 % of the runs. Each takes minutes.
"""

import argparse
import itertools
from dataclasses import replace

import numpy as np
from gate_worlds import DEFAULT, LEVEL, PEOPLE, Found, World, gate, null_worlds, scores, shown_fall, simulate

from mllmu_tasks.benchmarks.mllmu.spec import Split, Task

BEFORE = """
rules:
  - {split: [forget, test], task: classification, modality: each, at_most: 0.45}
  - {split: [forget, test], task: cloze, modality: each, at_most: 0.20}
  - {split: [forget, test], task: generation, modality: each, at_most: 0.40}
  - {split: [retain, real], task: [classification, cloze, generation], at_least: baseline or reference - 0.05}
"""

GATES = {
    "before": gate(BEFORE, flips=False),
    "after": DEFAULT,
}

NEVER_KNEW = scores(0.367, 0.125, 0.207)  # retain-only model, OPEN-MMUNLEARNING, 10 %, by picture
FORGOT = scores(0.27, 0.03, 0.20)
LEVELS = {
    "remembers (.49, .20, .60)": World(scores(0.49, 0.20, 0.60)),
    "official run 2026-06, vanilla": World(
        scores((0.483, 0.475), (0.239, 0.152), (0.571, 0.642))
        | {
            (Split.TEST, Task.CLASSIFICATION): (0.342, 0.375),
            (Split.TEST, Task.CLOZE): (0.174, 0.261),
            (Split.TEST, Task.GENERATION): (0.224, 0.519),
        }
    ),
    "known by name, avoided by picture": World(scores((0.05, 0.60), (0.0, 0.30), (0.05, 0.65))),
    "OPEN-MMUNLEARNING, finetuned": World(scores(0.388, 0.135, 0.242)),
    "OPEN-MMUNLEARNING, never knew": World(NEVER_KNEW),
    "never knew, classification .40": World(scores(0.40, 0.125, 0.207)),
    "VL-Eraser, its own method": World(scores(0.262, 0.134, 0.256)),
    "forgot (.27, .03, .20)": World(FORGOT),
    "forgot, and lost .10 elsewhere": World(FORGOT, loss=0.10),
}


def print_power(runs: int) -> None:
    unguarded = [column for column, rule in enumerate(DEFAULT.rules) if not rule.guard]
    for name, world in LEVELS.items():
        for ratio, correlation in itertools.product(PEOPLE, (0.1, 0.3)):
            found = {
                when: simulate(replace(world, correlation=correlation), g, runs, ratio) for when, g in GATES.items()
            }
            after = found["after"]
            found["after without guards"] = Found(after.broken[:, unguarded], after.held[:, unguarded])
            shares = {when: result.verdicts() for when, result in found.items()}
            cells = (f"{when} BROKEN {s['BROKEN']:.2f} HELD {s['HELD']:.2f}" for when, s in shares.items())
            print(f"{name:<34} {PEOPLE[ratio]} people, correlation {correlation}: {'   '.join(cells)}", flush=True)


def print_errors(runs: int) -> None:
    tested = [column for column, rule in enumerate(DEFAULT.rules) if not rule.guard]
    for world, ratio in itertools.product(null_worlds(), PEOPLE):
        found = simulate(world, runs=runs, ratio=ratio)
        kind = f"correlation {world.correlation}, {world.people}, {world.rouge}, losses {world.losses}"
        print(
            f"{PEOPLE[ratio]} people, {kind}, churn {world.churn}:"
            f" any false BROKEN {found.any_broken(LEVEL).mean():.4f},"
            f" worst rule alone {(found.broken <= LEVEL).mean(axis=0).max():.4f},"
            f" worst false HELD {(found.held[:, tested] <= LEVEL).mean(axis=0).max():.4f},"
            f" verdict HELD {found.verdicts()['HELD']:.4f}",
            flush=True,
        )
    for rule, ratio in itertools.product((rule for rule in DEFAULT.rules if rule.ceiling and not rule.guard), PEOPLE):
        bound = {(rule.split, rule.task): (rule.bound.amount, rule.bound.amount)}
        found = simulate(World(scores(0.05, 0.005, 0.05) | bound), runs=runs, ratio=ratio).verdicts()
        print(f"{PEOPLE[ratio]} people, only {rule.name} on its bound: verdict HELD {found['HELD']:.4f}", flush=True)


def print_falls(runs: int) -> None:
    for task, mean in ((Task.CLASSIFICATION, 0.5), (Task.CLOZE, 0.2), (Task.GENERATION, 0.6)):
        for people, churn, correlation in itertools.product(PEOPLE.values(), (0.1, 0.5), (0.1, 0.3)):
            world = World(correlation=correlation, churn=churn, rouge="words")
            steps = np.arange(0.01, mean, 0.01)
            least = {}
            for when, flips in (("before", False), ("after", True)):
                shown = (fall for fall in steps if shown_fall(task, mean, fall, people, world, flips, runs) >= 0.8)
                least[when] = next((f"{fall:.2f}" for fall in shown), "never")
            print(f"{task} {mean}, {people} people, churn {churn}, correlation {correlation}: {least}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", choices=("power", "errors", "falls"))
    parser.add_argument("--runs", type=int, default=500)
    given = parser.parse_args()
    {"power": print_power, "errors": print_errors, "falls": print_falls}[given.table](given.runs)


if __name__ == "__main__":
    main()
