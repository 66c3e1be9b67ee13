"""Hub id, folder, or the name of embedded data -> typed, validated `Person` records and their images."""

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mllmu_tasks.artifacts.identity import file_hash, text_hash
from mllmu_tasks.benchmarks.registry import default_benchmark
from mllmu_tasks.data.images import ImageStore
from mllmu_tasks.data.layout import HUB_ID, Layout
from mllmu_tasks.data.people import Defect, Person, TrainingRow, sharing
from mllmu_tasks.errors import UserError

__all__ = ["HUB_ID", "Source", "open_source"]
SLICE = 256


@functools.lru_cache(maxsize=8)
def open_source(spec: str, layout: Layout | None = None) -> "Source":
    """The source of a hub id, a folder, or embedded data; one object a process, so configs are read once.

    layout: of a benchmark; None is that of the default one, on which the training commands work. Raises UserError if
    the spec is none of these. Nothing is downloaded before a config is asked for.
    """
    if layout is None:
        return open_source(spec, default_benchmark().layout)
    return Source(spec, layout)


class Source:
    """Reads configs on demand, each once. Thread-safe."""

    def __init__(self, name: str, layout: Layout) -> None:
        self.name = name
        self.layout = layout
        self._locate, self._versioned = layout.locate(name)
        self._lock = threading.RLock()
        self._files: dict[str, list[Path]] = {}
        self._people: dict[str, tuple[Person, ...]] = {}
        self._by_id: dict[str, dict[str, Person]] = {}
        self._known: dict[str, Person] = {}
        self._defects: dict[str, tuple[Defect, ...]] = {}
        self._stores: dict[str, ImageStore] = {}
        self._training: dict[str, tuple[TrainingRow, ...]] = {}

    def has(self, config: str) -> bool:
        """Whether there is such a config. Raises UserError if the hub cannot be asked."""
        with self._lock:
            if config not in self._files:
                self._files[config] = self._locate(config)
            return bool(self._files[config])

    def files(self, config: str) -> list[Path]:
        """The config's parquet files. Raises UserError if there are none."""
        with self._lock:
            if not self.has(config):
                raise UserError(
                    f"data '{self.name}' has no config {config} (no {config}/*.parquet); {self.layout.remedy}."
                )
            return self._files[config]

    def people(self, config: str) -> tuple[Person, ...]:
        """Everyone in a config, in row order. Raises UserError where the structure is wrong."""
        with self._lock:
            if config not in self._people:
                self._read_people(config)
            return self._people[config]

    def by_id(self, config: str) -> dict[str, Person]:
        self.people(config)
        return self._by_id[config]

    def defects(self, config: str) -> tuple[Defect, ...]:
        """What is wrong in a config without being structural, questions that cannot be scored included."""
        self.people(config)
        return self._defects[config]

    def want_images(self, people: Iterable[Person]) -> None:
        """Announce whose images will be asked for, so that one pass over the files finds them all."""
        for person in people:
            self._store(person.config).want([person.row])

    def image_count(self, person: Person) -> int:
        return self._store(person.config).count(person.row)

    def image(self, person: Person, index: int = 0) -> Image.Image:
        """RGB. Raises UserError naming person, config and row if it cannot be read."""
        try:
            return self._store(person.config).picture(person.row, index)
        except UserError as error:
            raise UserError(f"person {person.id}: {error}") from error

    def image_bytes(self, person: Person, index: int = 0) -> bytes:
        return self._store(person.config).encoded(person.row, index)

    def image_problem(self, person: Person, index: int = 0, *, decode: bool = False) -> str | None:
        return self._store(person.config).problem(person.row, index, decode=decode)

    def image_of_row(self, config: str, row: int, index: int = 0) -> Image.Image:
        return self._store(config).picture(row, index)

    def image_problem_of_row(self, config: str, row: int, index: int = 0, *, decode: bool = False) -> str | None:
        """Why an image of a row cannot be read, or None."""
        return self._store(config).problem(row, index, decode=decode)

    def hash(self, configs: Iterable[str]) -> str:
        """sha256 over the content of configs: equal for a hub snapshot and a local copy of it."""
        files = ((config, file) for config in sorted(set(configs)) for file in self.files(config))
        return text_hash("".join(f"{config}/{file.name} {file_hash(file)}\n" for config, file in files))

    def whole(self, config: str) -> str:
        """Names all data together, so that leaves that read different configs can be compared.

        Of a folder a hash over every config of questions that is there; of the hub the commit that `config` was read
        from, since the other configs may not have been fetched.
        """
        if self._versioned:
            return f"{self.name}@{self.files(config)[0].parents[1].name}"
        return self.hash(config for config in self.layout.configs if self.has(config))

    def training_rows(self, config: str) -> tuple[TrainingRow, ...]:
        """The training pairs of a config, by row; whose they are where a row does not say it, its image does.

        Raises UserError if the config holds no training pairs, or a row names nobody and shows nobody's image.
        """
        with self._lock:
            if config not in self._training:
                self._training[config] = self._read_training(config)
            return self._training[config]

    def _read_people(self, config: str) -> None:
        people, defects = [], []
        for position, row in enumerate(self._rows(config, self.layout.needed, self.layout.optional)):
            person, oddities = self.layout.parse(config, position, row)
            people.append(sharing(person, self._known.setdefault(person.id, person)))
            defects += [Defect(config, person.id, where, problem) for where, problem in oddities]
            defects += [
                Defect(config, person.id, f"{q.task} {q.modality} question {q.index}", q.defect)
                for q in person.questions
                if q.defect
            ]
        if not people:
            raise UserError(f"config {config} of data '{self.name}' has no rows.")
        twice = [i for i, n in Counter(p.id for p in people).items() if n > 1]
        if twice:
            raise UserError(f"config {config} of data '{self.name}' has duplicate IDs: {', '.join(twice[:5])}.")
        self._people[config] = tuple(people)
        self._by_id[config] = {p.id: p for p in people}
        self._defects[config] = tuple(defects)

    def _read_training(self, config: str) -> tuple[TrainingRow, ...]:
        names, training = self._columns(config), self.layout.training
        if training is None:
            raise UserError(f"data '{self.name}' are of a benchmark without training pairs; train on others.")
        if training.column not in names:
            raise UserError(
                f"config {config} of data '{self.name}' has no column '{training.column}': these are benchmark "
                f"questions, not training pairs; {training.remedy}."
            )
        rows = self._rows(config, (training.column,), training.optional)
        return tuple(
            training.parse(self.name, config, position, row, functools.partial(self._face_of, config, position))
            for position, row in enumerate(rows)
        )

    def _face_of(self, config: str, position: int, where: str) -> str:
        image = text_hash(self._store(config).encoded(position, 0))
        same = self._faces.get(image, [])
        if len(same) != 1:
            everyone = self.layout.training.everyone
            found = f"its image belongs to {', '.join(same)}" if same else f"its image is not in {everyone}"
            raise UserError(f"{where}: no person is named and {found}; add an ID to metadata.")
        return same[0]

    @functools.cached_property
    def _faces(self) -> dict[str, list[str]]:
        everyone = self.people(self.layout.training.everyone)
        self.want_images(everyone)
        faces: dict[str, list[str]] = {}
        for person in everyone:
            faces.setdefault(text_hash(self.image_bytes(person)), []).append(person.id)
        return faces

    def _store(self, config: str) -> ImageStore:
        with self._lock:
            if config not in self._stores:
                columns = [name for name in self.layout.images if name in self._columns(config)]
                if not columns:
                    names = " or ".join(f"'{name}'" for name in sorted(self.layout.images))
                    raise UserError(f"config {config} of data '{self.name}' has no column {names}.")
                self._stores[config] = ImageStore(config, self.files(config), columns[0])
            return self._stores[config]

    def _columns(self, config: str) -> list[str]:
        """Those of the first file. Raises UserError if another file lacks, or adds, one that is read."""
        schemas = [_read(lambda file=file: pq.read_schema(file), config, self.name) for file in self.files(config)]
        columns = [set(schema.names) & self.layout.columns for schema in schemas]
        if uneven := set.union(*columns) - set.intersection(*columns):
            raise UserError(
                f"config {config} of data '{self.name}': only some of its files have the column {min(uneven)}."
            )
        return schemas[0].names

    def _rows(self, config: str, needed: Sequence[str], optional: Sequence[str]) -> Iterator[dict]:
        """The rows as Python objects, a slice at a time: all at once would take more memory than the people."""
        for part in self._table(config, needed, optional).to_batches(max_chunksize=SLICE):
            yield from _read(part.to_pylist, config, self.name)

    def _table(self, config: str, needed: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
        """Columns of a config, images left on disk. Raises UserError for a missing column."""
        names = self._columns(config)
        missing = [name for name in needed if name not in names]
        if missing:
            raise UserError(f"config {config} of data '{self.name}' lacks the column {', '.join(missing)}.")
        columns = [*needed, *(name for name in optional if name in names)]
        tables = [
            _read(lambda file=file: pq.read_table(file, columns=columns), config, self.name)
            for file in self.files(config)
        ]
        return _read(lambda: pa.concat_tables(tables, promote_options="permissive"), config, self.name)


def _read(read: Callable, config: str, name: str):
    try:
        return read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"config {config} of data '{name}' is unreadable ({reason}); fetch it again.") from error
