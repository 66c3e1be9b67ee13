"""Says who answers: what this process knows of the model behind lmms-eval, for the record in the results file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mllmu_tasks.artifacts.adapter_folder import AdapterFolder
from mllmu_tasks.artifacts.identity import RECORD_FILES, local_folder, short_hash
from mllmu_tasks.artifacts.record import forgotten, read_record

if TYPE_CHECKING:
    from mllmu_tasks.models.base_model import Base


@dataclass(frozen=True)
class Answerer:
    """The model that was really opened; every hash is of content, never of a name. "": not there, or not known.

    model: the backend, as on the command line. pretrained: its name there. weights: fingerprint of its weights.
    architecture: class and size. dtype: of its weights in memory. adapter: hash of the adapter's files. made_from:
    fingerprint of the untouched base model by the record of the adapter or checkpoint. forgot: whom that record names
    as forgotten or never shown, None without a record. forms: hash of what turns a question into a prompt: chat
    template and prompt style. processor: hash of its settings. system: hash of the system text; system_of: `adapter`
    or `command line`. base_by: `declared` where `base=this` put the adapter on weights that were not compared.
    """

    model: str
    pretrained: str = ""
    weights: str = ""
    architecture: str = ""
    dtype: str = ""
    adapter: str = ""
    made_from: str = ""
    forgot: tuple[str, ...] | None = None
    forms: str = ""
    processor: str = ""
    system: str = ""
    system_of: str = ""
    base_by: str = ""


_NOW: dict[str, Any] = {}


def note(answerer: Answerer) -> None:
    """From now on this process is answered by that model."""
    _NOW.clear()
    _NOW.update(asdict(answerer) | {"kept": {}})


def note_kept(place: str, count: int, run: str) -> None:
    """So many answers were not made now but taken from `place` (journal or cache), under the hash of their run."""
    if _NOW and count:
        before = _NOW["kept"].get(place, {"answers": 0})
        _NOW["kept"][place] = {"answers": before["answers"] + count, "run": run}


def noted() -> dict[str, Any]:
    """What is known, as plain JSON; {} where the backend is none of ours."""
    return dict(_NOW)


def architecture_of(model: Any) -> str:
    """`LlavaForConditionalGeneration, 4 layers of 64`: what two models share that differ in their weights alone."""
    sizes = model.config.get_text_config().to_dict()
    return f"{type(model).__name__}, {sizes.get('num_hidden_layers')} layers of {sizes.get('hidden_size')}"


def opened(pretrained: str, revision: str | None, base: "Base", adapter: AdapterFolder | None) -> Answerer:
    """A model that `mllmu_hf` opened, without how it is asked."""
    record = {} if adapter else read_record(local_folder(pretrained, RECORD_FILES, revision))
    return Answerer(
        model="mllmu_hf",
        pretrained=pretrained,
        weights=base.weights,
        architecture=architecture_of(base.model),
        adapter=adapter.content_hash if adapter else "",
        processor=short_hash(base.processor.to_json_string()),
        **origin(adapter, record),
    )


def asked_how(style: str, template: str | None, system: str, by_hand: bool) -> dict[str, str]:
    """forms, system and system_of. by_hand: the system text was given on the command line."""
    origin_of_text = "command line" if by_hand else "adapter"
    return {
        "forms": short_hash(repr([style, str(template)])),
        "system": short_hash(system),
        "system_of": origin_of_text if system else "",
    }


def origin(adapter: AdapterFolder | None, record: Mapping[str, Any]) -> dict[str, Any]:
    """made_from and forgot by the record of the adapter, or else of the checkpoint itself (unlearning.yaml)."""
    record = adapter.record if adapter else record
    base = record.get("base_model")
    made_from = str(base.get("fingerprint") or "") if isinstance(base, Mapping) else ""
    return {"made_from": made_from, "forgot": forgotten(record)}
