"""`mllmu judge` from logged answers to the judged file."""

import json
import re

from judge_server import GIVEN, IMAGE, TEXT, completion, error, judged

from mllmu_tasks.results import joined
from mllmu_tasks.results.gate import pinned
from mllmu_tasks.results.runs import load_run
from mllmu_tasks.results.stats.means import clustered_mean


def test_means_per_leaf_and_split_clustered_by_person(judge, server, answers):
    folder = answers("npo", GIVEN)
    code, output = judge(folder)
    assert code == 0, output
    found = judged(folder)
    assert (found["schema"], found["metric"], found["complete"]) == (1, "mllmu_factuality", True)
    assert found["judge"]["base_url"] == server.url
    assert (found["judge"]["model"], found["judge"]["answered_by"]) == ("gpt-4o-mini", ["judge-2026"])
    assert list(found["leaves"]) == [IMAGE, TEXT]
    image = clustered_mean([9, 8, 2, 1], ["001", "001", "002", "002"])
    assert found["leaves"][IMAGE] == {
        "mllmu_factuality": image.mean,
        "stderr_clustered": image.stderr,
        **{"answers": 4, "judged": 4, "people": 2, "unparsed": 0, "failed": 0, "empty": 1},
    }
    pooled = clustered_mean([9, 8, 2, 1, 10, 9, 5, 5], ["001", "001", "002", "002", "001", "001", "003", "003"])
    assert found["splits"]["mllmu_forget"]["mllmu_factuality"] == pooled.mean
    assert found["splits"]["mllmu_forget"]["stderr_clustered"] == pooled.stderr
    assert [s["mllmu_factuality"] for s in found["samples"]] == [9, 8, 2, 1, 10, 9, 5, 5]
    assert (found["samples"][3]["person"], found["samples"][3]["question_index"]) == ("002", 1)
    assert f"{pooled.mean:.2f} ±{pooled.stderr:.2f}" in output
    asked = [body["messages"][1]["content"] for _, _, body in server.requests]
    assert len(asked) == 8
    assert not any("not for the judge" in prompt for prompt in asked)
    assert any('"question": "What of 003?",\n "truth": "true 003 1",\n "answer": "grade 5 again"' in p for p in asked)


def test_the_estimate_comes_before_the_first_call(judge, server, answers):
    folder = answers("npo", GIVEN)
    code, output = judge(folder, "--dry_run")
    assert (code, server.requests) == (0, [])
    line = re.fullmatch(
        r"8 answers, 8 of them different, 0 judged before; 8 calls to gpt-4o-mini at \S+, about ([\d,]+) tokens of "
        r"prompts and at most 5,600 of replies, with the key in OPENAI_API_KEY",
        output.strip(),
    )
    assert 8 * 200 < int(line[1].replace(",", "")) < 8 * 600
    assert not list(folder.rglob("*_judged.json"))


def test_a_repeat_costs_nothing_and_writes_the_same(judge, server, answers):
    folder = answers("npo", GIVEN)
    judge(folder)
    (file,) = folder.rglob("*_judged.json")
    first = file.read_bytes()
    code, output = judge(folder)
    assert (code, len(server.requests), file.read_bytes()) == (0, 8, first)
    assert "8 judged before; 0 calls" in output
    again = answers("other", {IMAGE: GIVEN[IMAGE], "mllmu_test_generation_image": GIVEN[IMAGE]})
    assert judge(again)[0] == 0
    assert len(server.requests) == 8  # equal questions and answers of another run and another leaf
    assert judge(again, "--model", "other")[0] == 0
    assert len(server.requests) == 12  # another judge; the two leaves ask the same
    assert not [path for path in folder.rglob(".*")]


def test_two_runs_get_a_file_each(judge, server, answers, tmp_path):
    answers("a", {IMAGE: {"001": ["grade 3"]}})
    answers("b", {IMAGE: {"001": ["grade 4"]}})
    code, output = judge(tmp_path / "a", tmp_path / "b", tmp_path / "a")
    assert (code, len(server.requests), output.count("written to")) == (0, 2, 2)
    assert judged(tmp_path / "a")["leaves"][IMAGE]["mllmu_factuality"] == 3
    assert judged(tmp_path / "b")["leaves"][IMAGE]["mllmu_factuality"] == 4
    assert judged(tmp_path / "b")["leaves"][IMAGE]["stderr_clustered"] is None


def test_concurrency_is_bounded(judge, server, answers):
    server.pause = 0.05
    folder = answers("npo", {IMAGE: {f"{n:03}": ["grade 5", "grade 6"] for n in range(1, 13)}})
    assert judge(folder, "--concurrency", 3)[0] == 0
    assert (len(server.requests), server.most) == (24, 3)


def test_no_grade_is_asked_for_again_once_and_then_counted(judge, server, answers):
    folder = answers("npo", {IMAGE: {"001": ["grade 3", "grade 11"], "002": ["grade 5"]}})
    server.script = [(200, {}, completion("I cannot say."))]
    code, output = judge(folder, "--concurrency", 1)
    assert code == 2
    assert len(server.requests) == 5  # the first was mended by asking again, the 11 was not
    found = judged(folder)
    leaf = found["leaves"][IMAGE]
    assert (leaf["mllmu_factuality"], leaf["judged"], leaf["unparsed"], leaf["failed"]) == (4, 2, 1, 0)
    sample = found["samples"][1]
    assert (sample["mllmu_factuality"], sample["status"], found["complete"]) == (None, "unparsed", False)
    assert '"Factuality Score": 11' in sample["words"]
    assert "not complete: 1 replies without a grade after two attempts, 0 calls failed" in output
    server.grade = lambda _: "10"
    assert judge(folder)[0] == 0
    assert len(server.requests) == 6


def test_the_grades_are_columns_beside_the_samples(judge, server, answers):
    folder = answers("npo", {IMAGE: {"001": ["grade 3", "grade 11"], "002": ["grade 5"]}})
    assert judge(folder)[0] == 2
    (file,) = folder.rglob("*_results.json")
    rows = joined.read(file)
    assert [(row.leaf, row.person, row.question_index, dict(row.values)) for row in rows] == [
        (IMAGE, "001", 0, {"mllmu_factuality": 3}),
        (IMAGE, "002", 0, {"mllmu_factuality": 5}),  # what has no grade has no row
    ]
    rubric = judged(folder)["judge"]["rubric"]
    assert rows[0].about == {"model": "gpt-4o-mini", "base_url": server.url, "rubric": rubric}
    (samples,) = folder.rglob("*.jsonl")
    samples.write_text(samples.read_text().replace("grade 3", "grade 4"))
    said = []
    assert joined.read(file, said.append) == []
    assert len(said) == 1


def test_a_pinned_baseline_keeps_the_grades(judge, answers, tmp_path):
    folder = answers("vanilla", {IMAGE: {"001": ["grade 3"], "002": ["grade 5"]}})
    assert judge(folder)[0] == 0
    (file,) = folder.rglob("*_results.json")
    pinned.save((load_run(file),), tmp_path / "pinned")
    (kept,) = (tmp_path / "pinned").rglob("*_results.json")
    assert joined.read(kept) == joined.read(file) != []
    assert pinned.verify(tmp_path / "pinned") is not None


def test_one_refused_question_and_one_long_outage(judge, server, answers):
    folder = answers("npo", {IMAGE: {"001": ["grade 3", "grade 4"], "002": ["grade 5", "grade 6"]}})
    server.script = [0, (400, {}, error("content filter")), 0, (500, {}, b""), (500, {}, b"")]
    code, output = judge(folder, "--concurrency", 1, "--retries", 1)
    assert code == 2
    assert "1 failed: HTTP 400 (content filter)" in output
    assert "1 failed: HTTP 500, 2 times" in output
    assert judged(folder)["leaves"][IMAGE]["failed"] == 2
    assert judge(folder)[0] == 0
    assert judged(folder)["leaves"][IMAGE]["failed"] == 0
    assert len(server.requests) == 7


def test_a_server_that_is_down_is_left_alone(judge, server, answers):
    folder = answers("npo", {IMAGE: {f"{n:03}": ["grade 5"] for n in range(1, 31)}})
    server.script = [0, 0, *[(500, {}, b"")] * 99]
    code, output = judge(folder, "--concurrency", 1, "--retries", 0)
    assert (code, len(server.requests)) == (2, 7)
    assert judged(folder)["leaves"][IMAGE] | {"judged": 2, "failed": 28} == judged(folder)["leaves"][IMAGE]
    assert "23 failed: not asked: 5 calls in a row failed, the last with: HTTP 500, 1 times" in output
    server.script = []
    (file,) = folder.rglob("*_judged.json")
    file.unlink()
    server.script = [(500, {}, b"")] * 99
    assert judge(folder, "--model", "new", "--retries", 0)[1].startswith("no answer was judged and nothing is written")
    assert not file.exists()


def test_a_damaged_grade_is_asked_for_again(judge, server, answers, tmp_path):
    folder = answers("npo", {IMAGE: {"001": ["grade 3", "grade 4", "grade 5"]}})
    judge(folder)
    first, second, third = (tmp_path / "cache" / "judge").rglob("*.json")
    first.write_text('{"score": 3, "rep')
    second.write_text('{"score": 30, "reply": "", "answered_by": ""}')
    third.write_text('["a list"]')
    assert judge(folder)[0] == 0
    assert len(server.requests) == 6
    assert judged(folder)["leaves"][IMAGE]["mllmu_factuality"] == 4


def test_any_text_can_be_judged(judge, server, answers):
    """Half of a surrogate pair, control characters, braces of a template: a broken model says such things."""
    said = ["grade 4 \ud83d", "grade 5 \x00\x1b[31m", "{material} grade 6 {0}", "\u2028 grade 7 \U0001f600"]
    code, output = judge(answers("npo", {IMAGE: {"001": said}}))
    assert (code, len(server.requests)) == (0, 4), output
    assert "5.50" in output


def test_bad_input(judge, server, answers, tmp_path, monkeypatch):
    cloze = answers("cloze", {"mllmu_forget_cloze_text": {"001": ["x"]}})
    assert "no generation answers" in judge(cloze)[1]
    folder = answers("npo", {IMAGE: {"001": ["grade 3"]}})
    assert "--base_url" in judge(folder, url="nowhere")[1]
    assert judge(folder, "--concurrency", 0)[0] == 2
    assert judge(tmp_path / "none")[0] == 2
    (folder / "baseline.json").write_text("{}")
    assert "pinned baseline" in judge(folder)[1]
    (folder / "baseline.json").unlink()
    (samples,) = folder.rglob("*.jsonl")
    samples.write_text(samples.read_text().replace('"question"', '"asked"'))
    assert "do not hold their questions" in judge(folder)[1]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLLMU_CACHE", str(tmp_path / "file"))
    samples.write_text(samples.read_text().replace('"asked"', '"question"'))
    assert "set MLLMU_CACHE" in judge(folder)[1]
    assert server.requests == []


def test_a_part_or_a_backend_that_hides_failures_is_marked(judge, server, answers):
    folder = answers("npo", GIVEN)
    (file,) = folder.rglob("*_results.json")
    data = json.loads(file.read_text())
    data["config"] |= {"limit": 4, "model": "llava_hf"}
    file.write_text(json.dumps(data))
    code, output = judge(folder)
    assert code == 0, output
    assert "npo (not a result)" in output
    assert f"* npo: {IMAGE}, {TEXT}: a partial run (--limit 4)" in output
    assert re.search(r"\d+ of \d+ questions have no answer, and llava_hf may hide failures that way", output)
    assert f"{IMAGE}: a partial run (--limit 4)" in judged(folder)["notes"]
