"""`mllmu report`: the folder it leaves, what it warns of, what it refuses."""

import io
import json
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image
from reporting import GOOD, KNOWN, NAME, SCRIPT, run_report
from synthetic_results import everyone, write_evaluation, write_study

from mllmu_tasks.benchmarks.mllmu.spec import Split
from mllmu_tasks.results.report import theme
from mllmu_tasks.results.report.figures import Subject, bars, tradeoff
from mllmu_tasks.results.report.gather import gather
from mllmu_tasks.results.report.scores import Score, places


@pytest.fixture
def no_figures(monkeypatch):
    """For what figures do not show; drawing is most of the time."""
    monkeypatch.setattr("mllmu_tasks.results.report.content._drawings", lambda *_: [])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"), 3, 40, 8, 6)


def test_files_that_stand_beside_the_page(hostile):
    figures = {file.name for file in (hostile / "figures").iterdir()}
    assert figures == {
        f"{key}.{kind}" for key in ("tradeoff", "bars", "gap", "people", "cost") for kind in ("svg", "png")
    }
    for file in (hostile / "figures").glob("*.svg"):
        root = ElementTree.parse(file).getroot()
        tags = {element.tag.split("}")[1] for element in root.iter()}
        assert not tags & {"script", "b", "i", "image", "foreignObject"}
    names = "".join((hostile / "figures" / "bars.svg").read_text())
    assert "&lt;b oncli" in names
    for file in (hostile / "figures").glob("*.png"):
        assert len(np.unique(np.asarray(Image.open(file).convert("L")))) > 20


def test_markdown_escapes_and_shows_the_figures(hostile):
    text = re.sub(r"^```$.*?^```$", "", (hostile / "report.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert "![Forgetting against keeping](figures/tradeoff.png)" in text
    assert "<script" not in text
    assert "<b" not in text
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)\[l(?<!\\)\]\(", text)
    assert len(re.findall(r"(?<!\\)!\[", text)) == 5
    assert "| &lt;b onclick=alert(1)&gt;" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):  # no bar of a name's own divides a cell
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_a_method_that_is_shown_to_be_better_is_bold_and_another_is_not(tmp_path, no_figures):
    who = everyone(60, 20, 20)
    better = GOOD | {Split.RETAIN: 0.95}
    worse = GOOD | {Split.RETAIN: 0.2, Split.FORGET: 0.25}
    runs = [write_evaluation(tmp_path / n, n, who, right) for n, right in (("good", better), ("bad", worse))]
    code, output = run_report(*runs, "--out", tmp_path / "r")
    assert code == 0, output
    lines = (tmp_path / "r" / "report.md").read_text().split("### Retain")[1].split("###")[0].splitlines()
    good, bad = (
        [c for c in line.split("|")[2:-1]] for n in ("good", "bad") for line in lines if line.startswith(f"| {n}")
    )
    assert all("**" in cell for cell in good)
    assert not any("**" in cell for cell in bad)
    forget = (tmp_path / "r" / "report.md").read_text().split("### Forget")[1].split("###")[0]
    assert "**" not in forget  # .20 and .25 of 20 people decide nothing


def test_rows_that_are_no_results_and_rows_that_do_not_compare(study, tmp_path, no_figures):
    who = everyone(40, 8, 6)
    (tmp_path / "killed").mkdir()
    stock = write_evaluation(tmp_path / "stock", "stock", who, GOOD, model="llava_hf", silent=0.1)
    other = write_evaluation(tmp_path / "other", "other", who, GOOD, facts={"seed": 7})
    partial = write_evaluation(tmp_path / "part", "part", who, GOOD)
    for file in partial.rglob("*_forget_cloze_text.jsonl"):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    out = tmp_path / "out"
    code, output = run_report(study, tmp_path / "killed", stock, other, partial, "--out", out)
    assert code == 2
    assert "3 of what it was given is not a result" in output
    page = (out / "index.html").read_text()
    warnings = page.split('id="warnings"')[1].split("</section>")[0]
    assert "failed or was killed" in warnings
    assert re.search(r"stock: .*: \d+ of \d+ questions have no answer, and llava_hf may hide failures", warnings)
    assert "other: mllmu_forget_classification_image" in warnings
    assert "seed is 7" in warnings
    assert "3 of 16 questions are scored" in warnings
    assert '<td class="bad">not a result</td>' in page
    tables = page.split('<section id="tables">')[1].split("</section>")[0]
    assert "<strong>" not in tables  # nothing is best among rows that cannot be compared


def test_pictures_only_of_the_data_that_were_evaluated(tmp_path, study, no_figures):
    code, output = run_report(study, "--data", "mini", "--out", tmp_path / "r")
    assert (code, "is not what vanilla was asked about" in output) == (2, True)
    assert not (tmp_path / "r").exists()
    assert run_report(study, "--out", tmp_path / "r")[0] == 0
    assert "are shown with --data" in (tmp_path / "r" / "index.html").read_text()


def test_frame_is_named_or_found(study, tmp_path, no_figures):
    assert "Did you mean 'method_01'" in run_report(study, "--vanilla", "method_1", "--out", tmp_path / "r")[1]
    code, _ = run_report(study, "--vanilla", "method_01", "--reference", "vanilla", "--out", tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    assert code == 0
    assert re.search(r'<tr class="vanilla"><th scope="row">method_01', page)
    assert re.search(r'<tr class="reference"><th scope="row">vanilla', page)
    assert re.search(r'<tr class="method"><th scope="row">retain_only', page)


def test_what_is_refused(study, tmp_path, no_figures):
    assert "does not exist" in run_report(tmp_path / "none", "--out", tmp_path / "r")[1]
    (tmp_path / "empty").mkdir()
    assert "nothing to report on" in run_report(tmp_path / "empty", "--out", tmp_path / "r")[1]
    ten = write_evaluation(tmp_path / "ten", "ten", everyone(40, 8, 6), KNOWN, ratio=10)
    assert "forget ratios 5, 10" in run_report(study, ten, "--out", tmp_path / "r")[1]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<p>mine</p>")
    assert "is no report of mllmu" in run_report(study, "--out", tmp_path / "mine")[1]
    assert (tmp_path / "mine" / "index.html").read_text() == "<p>mine</p>"
    assert "holds no unlearning.yaml" in run_report(study, "--training", tmp_path / "empty", "--out", tmp_path / "r")[1]
    assert not (tmp_path / "r").exists()


def test_training_runs_finished_and_not(study, tmp_path):
    adapters = tmp_path / "adapters"
    (adapters / "npo").mkdir(parents=True)
    curve = {
        "step": [1, 2, 3],
        "loss": [3.0, 2.0, 1.0],
        "loss_forget": [2.0, 1.0, None],
        "loss_retain": [1.0, 1.0, 1.0],
    }
    training = {"seconds": 12.5, "peak_memory_mib": 800, "device": "cpu", "losses": curve}
    record = {"method": "npo", "seed": 7, "hyper_parameters": {"beta": SCRIPT}, "training": training}
    (adapters / "npo" / "unlearning.yaml").write_text(yaml.safe_dump(record))
    state = adapters / "slow.checkpoints" / "checkpoint-20" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"log_history": [{"step": s, "loss": 1 / s} for s in (10, 20)] + [{"eval_loss": 1}]}))
    code, output = run_report(study, "--training", adapters, "--out", tmp_path / "r")
    assert code == 0, output
    drawn = (tmp_path / "r" / "figures" / "losses.svg").read_text()
    assert ">slow (unfinished)<" in drawn
    assert ">retain<" in drawn
    cost = (tmp_path / "r" / "figures" / "cost.svg").read_text()
    assert "training, peak MiB" in cost
    assert ">800<" in cost
    assert cost.count(">640<") == 5
    page = (tmp_path / "r" / "index.html").read_text()
    assert "beta &lt;script&gt;" in page
    (adapters / "npo" / "unlearning.yaml").write_text("- 1")
    assert "is no record of a training run" in run_report(study, "--training", adapters, "--out", tmp_path / "r")[1]


def test_names_of_twenty_methods_do_not_touch(tmp_path):
    found = gather([write_study(tmp_path / "study", 20, 6, 2, 2)])
    scores = {(row.name, place): Score(0.5, 0.4, 0.6, 9, 18) for row in found.rows for place in places(found)}
    with theme.style():
        drawn = {f: theme.svg(f(Subject(found, scores), theme.WIDE)) for f in (bars, tradeoff)}
    name = r'<text style="font-size: ([\d.]+)px[^>]*? y="([\d.]+)"[^>]*>(?:method_\d\d|vanilla|retain_only)<'
    names = [(float(size), float(y)) for size, y in re.findall(name, drawn[bars])]
    assert len(names) == 3 * 22
    for group in range(3):
        heights = [y for _, y in names[group * 22 : group * 22 + 22]]
        assert min(b - a for a, b in pairwise(heights)) > names[0][0]
    assert all(f">method_{number:02}<" in drawn[tradeoff] for number in range(1, 21))


def test_a_picture_is_encoded_anew_and_small(tmp_path):
    from mllmu_tasks.data.source import open_source
    from mllmu_tasks.results.report.examples import PIXELS, _encoded

    source = open_source("mini")
    picture = _encoded(source.image(source.people("forget_15")[0]))
    import base64

    data = base64.b64decode(picture.removeprefix("data:image/webp;base64,"))
    shown = Image.open(io.BytesIO(data))
    assert shown.format == "WEBP"
    assert max(shown.size) <= PIXELS
    assert "exif" not in shown.info


def test_the_command_of_a_row_hides_secrets():
    from pathlib import Path

    from mllmu_tasks.results.report.provenance import command
    from mllmu_tasks.results.runs import Run

    arguments = f"pretrained=x,api_key=abc,peft={NAME}"
    run = Run(Path("r"), "mllmu_hf", arguments, "d", None, {}, (), (), config={"model": "m", "model_args": arguments})
    shown = command(run)
    assert shown.startswith("lmms-eval --model m --model_args ")
    assert "abc" not in shown
    assert "api_key=***" in shown
