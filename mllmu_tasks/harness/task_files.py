"""The task YAMLs of a benchmark: one file a leaf and a group, and what they share."""

import json
from pathlib import Path

from mllmu_tasks.benchmarks.vocabulary import Leaf, Vocabulary
from mllmu_tasks.scorers.base import get, names

VERSION = 1
MAX_NEW_TOKENS = 50
BASE_TEXT = f"""\
# What all leaves share. The leaf's name travels as the name of the split: see docs/decisions.md.
dataset_path: json
output_type: generate_until
process_docs: !function mllmu_tasks.harness.task.leaf_docs
doc_to_text: !function mllmu_tasks.harness.task.to_text
doc_to_visual: !function mllmu_tasks.harness.task.to_visual
doc_to_messages: !function mllmu_tasks.harness.task.to_messages
doc_to_target: !function mllmu_tasks.harness.task.to_target
process_results: !function mllmu_tasks.harness.task.score
num_fewshot: 0
cluster_key: person
score_key: score
generation_kwargs:
  until: ["ASSISTANT:"]
  max_new_tokens: {MAX_NEW_TOKENS}
  do_sample: false
  temperature: 0
"""


def task_files(benchmark: Vocabulary) -> dict[str, str]:
    """File name -> content, of all tasks and groups of a benchmark."""
    base = f"_{benchmark.name}_leaf"
    made = {base: BASE_TEXT, "leaf.json": json.dumps({"benchmark": benchmark.title}) + "\n"}
    for leaf in benchmark.leaves():
        made[f"{leaf.name}.yaml"] = _leaf_text(benchmark, leaf, base)
    for group, members in benchmark.groups().items():
        made[f"{group}.yaml"] = _group_text(benchmark, group, members)
    return made


def write_task_files(benchmark: Vocabulary, folder: Path) -> int:
    """Write them into `folder`, which is made if need be; files of other names stay. Returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = task_files(benchmark)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return len(files)


def _leaf_text(benchmark: Vocabulary, leaf: Leaf, base: str) -> str:
    task, better = benchmark.task(leaf.task), str(not leaf.wanted_low).lower()
    metrics = "".join(
        f"  - {{metric: {metric.name}, aggregation: mean, higher_is_better: {better}}}\n"
        for metric in get(task.scorer).metrics
    )
    generation = BASE_TEXT[BASE_TEXT.index("generation_kwargs") :].replace(
        f"max_new_tokens: {MAX_NEW_TOKENS}", f"max_new_tokens: {task.max_new_tokens}"
    )
    return (
        f"include: {base}\n"
        f"task: {leaf.name}\n"
        f"dataset_kwargs: {{data_files: {{{leaf.name}: leaf.json}}}}\n"
        f"test_split: {leaf.name}\n"
        f"{generation if task.max_new_tokens != MAX_NEW_TOKENS else ''}"
        "metric_list:\n"
        f"{metrics}"
        "  - {metric: mllmu_answered, aggregation: mean, higher_is_better: true}\n"
        "  - metric: mllmu_by_person\n"
        "    aggregation: !function mllmu_tasks.harness.task.mean_by_person\n"
        f"    higher_is_better: {better}\n"
        "  - metric: mllmu_facts\n"
        "    aggregation: !function mllmu_tasks.harness.task.facts\n"
        "    higher_is_better: true\n"
        f"metadata: {{version: {VERSION}}}\n"
    )


def _group_text(benchmark: Vocabulary, name: str, members: list[str]) -> str:
    used = {str(task.scorer) for task in benchmark.tasks}
    ordered = [name for name in names() if name in used] + sorted(used - set(names()))
    metrics = [metric.name for scorer in ordered for metric in get(scorer).metrics]
    lines = "".join(
        f"  - {{metric: {metric}, aggregation: mean, weight_by_size: true}}\n"
        for metric in [*metrics, "mllmu_answered"]
    )
    tasks = "".join(f"  - {member}\n" for member in members)
    return f"group: {name}\ntask:\n{tasks}aggregate_metric_list:\n{lines}metadata: {{version: {VERSION}}}\n"
