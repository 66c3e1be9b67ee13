"""Heads of columns: which split, what is wanted of it, which task."""

from collections.abc import Collection

from mllmu_tasks.results.columns import ARROWS, Leaf

SHORT = {"classification": "cls", "generation": "gen"}
"""Of tasks with long names."""


def short(task: str) -> str:
    return SHORT.get(task, task)


def split_head(leaf: Leaf, benchmarks: Collection[str]) -> str:
    """`forget_10`; with the benchmark's name where the table holds several."""
    return leaf.heading if len(benchmarks) < 2 else leaf.group


def column_head(leaf: Leaf, benchmarks: Collection[str], wants_low: bool | None, modality: str | None) -> str:
    """`forget_10↓ cls image`; modality None: pooled."""
    head = f"{split_head(leaf, benchmarks)}{ARROWS[wants_low]} {short(leaf.task)}"
    return f"{head} {modality}" if modality else head
