"""A stranger's benchmark, to run beside ours."""

import json
from pathlib import Path

import pytest

OTHER_BENCHMARK = """
task: other_benchmark
dataset_path: json
dataset_kwargs: {data_files: {test: other.json}}
test_split: test
output_type: generate_until
doc_to_visual: !function other.nothing
doc_to_text: question
doc_to_target: answer
doc_to_messages: !function other.messages
process_results: !function other.score
generation_kwargs: {max_new_tokens: 3, do_sample: false}
metric_list: [{metric: exact, aggregation: mean, higher_is_better: true}]
"""
OTHER_CODE = """
def nothing(doc):
    return []
def messages(doc):
    return [{"role": "user", "content": [{"type": "text", "text": doc["question"]}]}]
def score(doc, results):
    return {"exact": float(results[0] == doc["answer"])}
"""


@pytest.fixture(scope="session")
def other_benchmark(tmp_path_factory) -> Path:
    """A stranger's task folder, to run beside ours in one command."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "other_benchmark.yaml").write_text(OTHER_BENCHMARK)
    (folder / "other.py").write_text(OTHER_CODE)
    (folder / "other.json").write_text(json.dumps({"question": "Two and two?", "answer": "four"}) + "\n")
    return folder
