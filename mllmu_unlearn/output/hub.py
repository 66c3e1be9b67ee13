"""An output folder -> a repository on the Hub: weights, card with results, `.eval_results`, in one commit."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, HfApi, constants, eval_result_entries_to_yaml, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.repocard_data import eval_results_to_model_index

from mllmu_tasks import strict_json
from mllmu_tasks.addresses import check_port
from mllmu_tasks.artifacts.adapter_folder import read_adapter
from mllmu_tasks.artifacts.made_from import fingerprint_here
from mllmu_tasks.artifacts.record import RECORD, read_record, require_record
from mllmu_tasks.artifacts.weight_files import PICKLES, files_of_model, first_not_finite
from mllmu_tasks.benchmarks.mllmu.settings import DEFAULT_DATA
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.loading import require_model_files
from mllmu_tasks.results.runs import Run, load_runs
from mllmu_tasks.results.tables.comparable import differences
from mllmu_tasks.results.tables.table import Cell, cells, render
from mllmu_tasks.results.validity import all_flaws
from mllmu_tasks.user_files import read_text
from mllmu_unlearn.output import card

RESULTS_FILE = ".eval_results/mllmu.yaml"
NOT_FOR_THE_HUB = (card.CARD, RECORD, "adapter_config.json")
"""Written anew."""
PATH_OPTIONS = ("alternates", "reference_model", "train_data")
NO_PATHS = (DEFAULT_DATA, "mini")
FILE_ENDINGS = (".json", ".jsonl")


def push(
    adapter: Path,
    repo_id: str,
    *,
    results: Sequence[Path] = (),
    base_model: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    endpoint: str | None = None,
) -> None:
    """Upload a folder that mllmu wrote, whole or not at all. Raises UserError; never shows a token.

    results: lmms-eval output of this model, for the card. base_model: the hub id of the base model, where the
    adapter was made from a local folder. dry_run: print what would go.
    """
    check_port(endpoint or constants.ENDPOINT, "HF_ENDPOINT")
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        runs = _runs(results)
        _build(stage, adapter, repo_id, runs, base_model)
        for file in sorted(path for path in stage.rglob("*") if path.is_file()):
            print(f"{file.stat().st_size:>14,}  {file.relative_to(stage)}")
        if dry_run:
            print(f"dry run: nothing was uploaded to {repo_id}")
            return
        with _one_sentence(repo_id):
            api = HfApi(endpoint=endpoint)
            api.create_repo(repo_id, private=private or None, exist_ok=True)
            done = api.upload_folder(repo_id=repo_id, folder_path=stage, commit_message="Upload by mllmu push")
    print(f"uploaded in one commit: {done.commit_url}")


def forms(name: str, runs: Sequence[Run]) -> tuple[list[dict], list[dict]]:
    """(`model-index` of the card, entries of `.eval_results`): the same numbers, one a split and task.

    Entries name a data set of the Hub; runs on other data (a folder, `mini`) have none.
    """
    index, entries = [], []
    for run in runs:
        facts = next(iter(run.facts.values()), {})
        data = str(facts.get("data"))
        shown = _shown(data)
        day = f"{run.date[:4]}-{run.date[4:6]}-{run.date[6:8]}"
        for cell in cells([run]):
            task, value = f"{cell.leaf.group}_{cell.task}", round(cell.estimate.mean, 4)
            notes = _notes(cell, facts, run)
            index.append(
                EvalResult(
                    task_type="image-text-to-text",
                    dataset_type=shown,
                    dataset_name=f"MLLMU-Bench ({data})" if data == "mini" else "MLLMU-Bench",
                    dataset_config=task,
                    metric_type=cell.metric,
                    metric_value=value,
                    metric_name=notes,
                )
            )
            if _on_the_hub(data):
                entries.append(EvalResultEntry(data, task, value, date=day, notes=notes))
    model_index = eval_results_to_model_index(name, index) if index else []
    return model_index, eval_result_entries_to_yaml(entries)


def _build(stage: Path, adapter: Path, repo_id: str, runs: Sequence[Run], base_model: str | None) -> None:
    record = _checked(adapter)
    _require_own(runs, adapter, record["kind"])
    base, recorded = base_model or record["base_model"]["name_or_path"], record["base_model"]
    if Path(base).is_absolute() or PureWindowsPath(base).is_absolute():
        raise UserError(
            f"'{adapter}' was made from the folder '{base}', which nobody else has; "
            "push that model too, and give its hub id: --base_model OWNER/NAME."
        )
    renamed = base != recorded["name_or_path"]
    if renamed:
        _compare_base(base, str(recorded.get("fingerprint")))
    record["base_model"] |= {"name_or_path": base} | ({"revision": None} if renamed else {})
    for file in sorted(adapter.iterdir()):
        if file.suffix in PICKLES:
            print(f"left out: {file.name}, a pickle, which can run code")
        elif file.is_file() and file.name not in NOT_FOR_THE_HUB and not file.name.startswith("."):
            (stage / file.name).symlink_to(file.resolve())
    config = adapter / "adapter_config.json"
    if config.is_file():
        content = strict_json.loads(read_text(config, f"'{config}'")) | {"base_model_name_or_path": base}
        if renamed:
            content["revision"] = None
        (stage / config.name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    index, entries = forms(repo_id.rpartition("/")[2], runs)
    table = render([c for run in runs for c in cells([run])], "markdown") if runs else ""
    card.write(stage, _public(record), name=repo_id, model_index=index, table=table)
    if entries:
        (stage / RESULTS_FILE).parent.mkdir()
        (stage / RESULTS_FILE).write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
    elif runs:
        print(f"no {RESULTS_FILE}: the results are not on a data set of the Hub")
    forgotten = record["forget"]["ids"]
    if forgotten:
        print(f"the card and {RECORD} name the {len(forgotten)} forgotten people by id")


def _compare_base(base: str, recorded: str) -> None:
    """Raise UserError if the base model's weights are here and are others than recorded; if not, say so."""
    here = fingerprint_here(base)
    if here and here != recorded:
        raise UserError(
            f"the weights of '{base}' ({here[:8]}) are not those of the recorded base model ({recorded[:8]}); give the "
            "hub id of the model that it was made from: --base_model OWNER/NAME."
        )
    if not here:
        print(f"base model '{base}' was taken at your word: not checked against the fingerprint in {RECORD}")


def _checked(folder: Path) -> dict:
    """The folder's record. Raises UserError unless it is ours, and its weights are what it says: whole and finite."""
    record = read_record(folder)
    if not record:
        raise UserError(f"'{folder}' has no {RECORD}; only folders that mllmu wrote can be pushed.")
    require_record(record, folder / RECORD)
    if record["kind"] != "full":
        read_adapter(folder)
        return record
    require_model_files(str(folder))
    for file in files_of_model(folder, str(folder)):
        if name := first_not_finite(file):
            raise UserError(f"model '{folder}' holds NaN or infinity ({name} in {file.name}); train it again.")
    return record


def _runs(results: Sequence[Path]) -> list[Run]:
    runs = load_runs(results)
    differ = differences(runs) if runs else []
    if differ:
        raise UserError(f"these runs cannot stand on one card: {'; '.join(differ)}.")
    if flaws := all_flaws(runs):
        raise UserError(f"these results cannot stand on a card: {flaws[0]}; evaluate again, whole and with mllmu_hf.")
    return runs


def _require_own(runs: Sequence[Run], adapter: Path, kind: str) -> None:
    """Raise UserError unless every run was given this folder: as `pretrained=` if it is a whole model, else `peft=`."""
    for run in runs:
        peft, pretrained = run.argument("peft"), run.argument("pretrained")
        given = peft if kind != "full" else "" if peft else pretrained
        if not (given and _same_folder(Path(given), adapter.resolve())):
            raise UserError(
                f"the results of {run.date} evaluated '{peft or pretrained or run.name}' ({run.model_args}), "
                f"not '{adapter}'; give --results of this folder's own evaluation."
            )


def _same_folder(given: Path, folder: Path) -> bool:
    """A relative path that is nothing here was written elsewhere; then its parts must end the folder's path."""
    if given.is_absolute() or given.exists():
        return given.resolve() == folder
    return folder.parts[-len(given.parts) :] == given.parts


def _public(record: dict) -> dict:
    """A copy of the record without paths of this machine."""
    options = {k: _shown(v) if k in PATH_OPTIONS else v for k, v in record["hyper_parameters"].items()}
    data = record["data"] | {"source": _shown(record["data"]["source"])}
    return record | {"hyper_parameters": options, "data": data}


def _shown(value: str | None) -> str | None:
    """A path in neutral words; what is not known to be an id of the Hub counts as local."""
    if value is None or value in NO_PATHS:
        return value
    path = Path(value)
    return f"local {'file' if path.suffix in FILE_ENDINGS else 'folder'} '{path.name}'"


def _notes(cell: Cell, facts: dict, run: Run) -> str:
    error = "" if cell.estimate.stderr is None else f" ± {cell.estimate.stderr:.3f} clustered by person"
    return (
        f"{cell.metric}{error}, {cell.estimate.questions} questions, {cell.estimate.people} people; seed "
        f"{facts.get('seed')}, shots {facts.get('shots')}, prompt style {run.prompt_style}, lmms-eval"
    )


def _on_the_hub(data: str) -> bool:
    """Only the benchmark's own id is known to be one: `data/bench` may be a folder of another place."""
    return data == DEFAULT_DATA


@contextmanager
def _one_sentence(repo_id: str) -> Iterator[None]:
    try:
        yield
    except HfHubHTTPError as error:
        code = error.response.status_code
        known = {
            401: "the Hub does not know you: run `hf auth login`, or set HF_TOKEN",
            403: f"your token may not write to '{repo_id}'",
            404: f"the Hub has no place for '{repo_id}'",
        }
        raise UserError(f"{known.get(code, f'the Hub refused the upload ({code})')}; nothing was uploaded.") from None
    except HFValidationError as error:
        raise UserError(f"'{repo_id}' is no name for a repository: {_hidden(error)}") from None
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise UserError(f"the Hub cannot be reached ({_hidden(error)}); nothing was uploaded.") from None


def _hidden(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    token = get_token()
    return text.replace(token, "***") if token else text
