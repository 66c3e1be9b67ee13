"""People -> training samples: image pairs from the training set, text pairs from the biographies."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import FULL_CONFIG, TRAIN_CONFIG
from mllmu_tasks.benchmarks.mllmu.splits import require_apart
from mllmu_tasks.benchmarks.mllmu.training_rows import check_pairs
from mllmu_tasks.data.missing import refuse_losses
from mllmu_tasks.data.people import TrainingRow
from mllmu_tasks.data.source import Source, open_source
from mllmu_tasks.errors import UserError, typed_reason_of
from mllmu_unlearn.toolbox.samples import ImageRef, Sample, Turn
from mllmu_unlearn.training.biographies import text_pairs
from mllmu_unlearn.training.people import splits
from mllmu_unlearn.training.sample_cache import RowCache


class TrainingSet:
    """The samples of a source, by person.

    train_data: a folder in the layout of `baseline_train_split` (`forget_N`, `retain_N` with a `metadata`
    column) to take the image pairs from, instead of the config `ft_Data`.
    lost: row of a training config -> why entries of its metadata are no samples; the images are looked at when their
        person is chosen.
    """

    def __init__(
        self,
        source: Source,
        modalities: Collection[str],
        train_data: str | None = None,
        ratio: int | None = None,
    ) -> None:
        self.source = source
        self.modalities = modalities
        self.lost: dict[TrainingRow, tuple[str, ...]] = {}
        self.rows: list[TrainingRow] = []
        self.image_source = source
        self.by_person: dict[str, list[Sample]] = {p.id: [] for p in source.people(FULL_CONFIG)}
        if "image" in modalities:
            self._add_image_pairs(train_data, ratio)
        if "text" in modalities:
            for person in source.people(FULL_CONFIG):
                self.by_person[person.id] += [
                    Sample(person.id, (Turn(question, answer),), "biography") for question, answer in text_pairs(person)
                ]

    def _add_image_pairs(self, train_data: str | None, ratio: int | None) -> None:
        source, configs = self.source, [TRAIN_CONFIG]
        if train_data:
            configs = baseline_configs(train_data, ratio)
            source = self.image_source = open_source(train_data)
        if len(configs) == 2:
            require_apart(source.name, *((c, (row.person for row in source.training_rows(c))) for c in configs))
        for config in configs:
            for row in source.training_rows(config):
                if row.person not in self.by_person:
                    raise UserError(
                        f"{source.name}, {config}, row {row.row}: person '{row.person}' is not in "
                        f"{FULL_CONFIG} of {self.source.name}."
                    )
                self.rows.append(row)
                image = ImageRef(source, config, row.person, row.row)
                self.lost[row] = row.left_out
                for question, answer in row.pairs:
                    turn = Turn(question, answer, image)
                    self.by_person[row.person].append(Sample(row.person, (turn,), config))

    @property
    def left_out(self) -> int:
        """How many pairs of the metadata are no samples, as far as is known."""
        return sum(map(len, self.lost.values()))

    def of(self, people: Iterable[str]) -> list[Sample]:
        """Samples of these people, in the order given, without those whose image cannot be read.

        Raises UserError if there is none at all, or if more is lost than `MLLMU_MAY_LOSE` lets pass: of the pairs
        of metadata, or of the people, each of whom should have a pair of each modality.
        """
        people = list(people)
        rows = self._look(set(people))
        unseen = {(row.config, row.row) for row in rows if len(self.lost[row]) > len(row.left_out)}
        samples = [
            sample
            for person in people
            for sample in self.by_person[person]
            if not any(turn.image and (turn.image.config, turn.image.row) in unseen for turn in sample.turns)
        ]
        self._refuse_losses(people, rows, samples)
        if not samples:
            wanted = " or ".join(self.modalities)
            raise UserError(f"{self.source.name} has no {wanted} training pair for the chosen people.")
        return samples

    def _look(self, people: Collection[str]) -> list[TrainingRow]:
        """The rows of these people; pairs of a row whose image cannot be read are lost."""
        rows = [row for row in self.rows if row.person in people]
        self.image_source.want_images(rows)
        for row in rows:
            if problem := self.image_source.image_problem_of_row(row.config, row.row):
                self.lost[row] = (*row.left_out, *[problem] * len(row.pairs))
        return rows

    def _refuse_losses(self, people: Sequence[str], rows: Sequence[TrainingRow], samples: Sequence[Sample]) -> None:
        bound = Settings.from_environment().may_lose
        if "image" in self.modalities:
            what = f"the training pairs of {len(people)} people in {self.image_source.name}"
            check_pairs(what, people, {row: self.lost[row] for row in rows}, bound)
        if "text" in self.modalities:
            told = {sample.person for sample in samples if sample.modality == "text"}
            mute = len(set(people) - told)
            why = {"no name, no facts and no answer in it": mute}
            refuse_losses(f"the biographies of {self.source.name}", "people", mute, len(told), why, bound)


def data_hash(source: Source, ratio: int | None, *, with_images: bool, train_data: str | None) -> str:
    """Of the people, of who is forgotten by `ratio`, and of the image pairs or of the folder that has them."""
    configs = [FULL_CONFIG] if ratio is None else [FULL_CONFIG, splits(ratio)[0]]
    if with_images and train_data:
        other = open_source(train_data).hash(baseline_configs(train_data, ratio))
        return f"{source.hash(configs)}+{other}"
    return source.hash([*configs, TRAIN_CONFIG] if with_images else configs)


def baseline_configs(folder: str, ratio: int | None) -> list[str]:
    """Configs of a `baseline_train_split` folder that hold everyone. Raises UserError if there are none."""
    if not Path(folder).is_dir():
        raise UserError(f"train_data '{folder}' is no folder here.")
    names = {p.name for p in Path(folder).iterdir() if p.is_dir()}
    for n in [ratio] if ratio else [5, 10, 15]:
        if set(splits(n)) <= names:
            return list(splits(n))
    if TRAIN_CONFIG in names:
        return [TRAIN_CONFIG]
    wanted = " and ".join(splits(ratio or 5))
    raise UserError(f"train_data '{folder}' has no folders {wanted} as in MLLMMU/baseline_train_split.")


@dataclass(frozen=True, slots=True)
class Key:
    """One dataset item: the index of a sample for each side; `muted` items are filling without labels."""

    picks: tuple[tuple[str, int], ...]
    muted: bool = False


class Rows(torch.utils.data.Dataset):
    """Samples of all sides, processed on first use and kept while they fit.

    __getitem__(Key) -> {side: (index, processor tensors with labels, muted)}.
    numbered: rows also hold `images`, the numbers of the images they show: equal images, equal numbers.
    """

    def __init__(
        self,
        sides: Mapping[str, Sequence[Sample]],
        encode: Callable[[Sample, list[Image]], dict[str, torch.Tensor]],
        keep_bytes: int = 2**30,
    ) -> None:
        self.sides = {name: list(samples) for name, samples in sides.items()}
        self.encode = encode
        self.kept = RowCache(keep_bytes)
        shown = (turn.image for of in self.sides.values() for sample in of for turn in sample.turns if turn.image)
        self.numbers = {image: number for number, image in enumerate(dict.fromkeys(shown))}
        self.numbered = False

    def __len__(self) -> int:
        return max(len(samples) for samples in self.sides.values())

    def __getitem__(self, key: Key) -> dict[str, tuple[int, dict[str, torch.Tensor], bool]]:
        return {side: (index, self.row(side, index), key.muted) for side, index in key.picks}

    def _encoded(self, sample: Sample) -> dict[str, torch.Tensor]:
        shown = sample.images()
        try:
            return self.encode(sample, shown)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a processor or a chat template says
            raise UserError(
                f"could not prepare the question '{sample.question[:80]}' of person {sample.person} with "
                f"{len(shown)} images ({typed_reason_of(error)}); see that processor and "
                "chat template are this model's."
            ) from error

    def row(self, side: str, index: int) -> dict[str, Any]:
        """Processor tensors with labels, and `images` where the rows are numbered. Raises UserError."""
        sample = self.sides[side][index]
        images = tuple(self.numbers[turn.image] for turn in sample.turns if turn.image is not None)
        found = self.kept.get((side, index))
        if found is None:
            found = self.kept.keep((side, index), images, self._encoded(sample))
        return {**found, "images": images} if self.numbered else found
