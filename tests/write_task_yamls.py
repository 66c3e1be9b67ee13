"""Write `task_yamls/`: one file a leaf and a group, from the vocabulary. Run by hand when it changes:

python tests/write_task_yamls.py
"""

import json
from pathlib import Path

from mllmu_tasks.benchmarks.mllmu.spec import METRICS, RATIOS, Leaf, Split, group_name, leaves

FOLDER = Path(__file__).parent.parent / "task_yamls"
VERSION = 1
BASE = "_mllmu_leaf"
BASE_TEXT = """\
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
  max_new_tokens: 50
  do_sample: false
  temperature: 0
"""


def leaf_text(leaf: Leaf) -> str:
    better = str(not leaf.wanted_low).lower()
    metrics = "".join(
        f"  - {{metric: {metric}, aggregation: mean, higher_is_better: {better}}}\n" for metric in METRICS[leaf.task]
    )
    return (
        f"include: {BASE}\n"
        f"task: {leaf.name}\n"
        f"dataset_kwargs: {{data_files: {{{leaf.name}: leaf.json}}}}\n"
        f"test_split: {leaf.name}\n"
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


def group_text(name: str, members: list[str]) -> str:
    metrics = dict.fromkeys(metric for metrics in METRICS.values() for metric in metrics)
    lines = "".join(
        f"  - {{metric: {metric}, aggregation: mean, weight_by_size: true}}\n"
        for metric in [*metrics, "mllmu_answered"]
    )
    tasks = "".join(f"  - {member}\n" for member in members)
    return f"group: {name}\ntask:\n{tasks}aggregate_metric_list:\n{lines}metadata: {{version: {VERSION}}}\n"


def files() -> dict[str, str]:
    """File name -> content of the whole folder."""
    made = {BASE: BASE_TEXT, "leaf.json": json.dumps({"benchmark": "MLLMU-Bench"}) + "\n"}
    members: dict[str, list[str]] = {}
    for leaf in leaves():
        made[f"{leaf.name}.yaml"] = leaf_text(leaf)
        members.setdefault(leaf.group, []).append(leaf.name)
    for group, names in members.items():
        made[f"{group}.yaml"] = group_text(group, names)
    for ratio in RATIOS:
        name = group_name(None, ratio)
        made[f"{name}.yaml"] = group_text(name, [group_name(split, ratio) for split in Split])
    return made


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{len(files())} files in {FOLDER.name}/")
