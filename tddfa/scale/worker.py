"""`Worker`: loads the model once, and turns one shard after the other into files."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa import __version__, video
from tddfa._shared import opencv_log
from tddfa.aligner import Aligner
from tddfa.model.assets import config_path
from tddfa.model.config import Config
from tddfa.scale import job as layout
from tddfa.scale.archives import Archive, crop_files, mesh_files
from tddfa.scale.attempts import REASON, Attempt
from tddfa.scale.items import Item, unpack
from tddfa.scale.job import Job, MixedError, model_hash, plain_settings
from tddfa.scale.plan import Task, manifest_name, part_name
from tddfa.scale.reading import Decoders, Loaded, as_file, item_reason, load_photos
from tddfa.scale.stores import Store
from tddfa.scale.tables import TableFile, faces_schema, text
from tddfa.tracking.tracker import Tracker
from tddfa.types import Face

_BATCH_BYTES = 64 << 20  # of decoded photos that are aligned together


class Summary(NamedTuple):
    """Results of a shard, and the worker that processed it."""

    shard: int
    photos: int
    videos: int
    frames: int
    faces: int
    errors: int
    seconds: float
    process: int


class _ItemError(Exception):
    """A photo or video cannot be used; its message is the reason."""


class Worker:
    """A loaded model that processes shards; `run` processes one shard.

    Parameters
    ----------
    job : Job
    identity : mapping
        Result of `Job.identity` on the driver. This machine must have the same model and version.
    decoders : Decoders, optional
        Processes that decode photos. None takes threads of this one.

    Raises
    ------
    MixedError
        If this machine has another model, or another version of tddfa.
    """

    def __init__(self, job: Job, identity: Mapping[str, Any], decoders: Decoders | None = None) -> None:
        opencv_log.silence()  # what it prints about a damaged photo is the reason of a row
        if identity["version"] != __version__:
            raise MixedError(f"tddfa: this machine has version {__version__}, the driver {identity['version']}")
        settings = Config.load(config_path(job.config)).with_precision(identity["precision"])
        own = {**plain_settings(settings), "model": model_hash(settings)}
        if any(identity.get(name) != value for name, value in own.items()):
            raise MixedError(f"{job.config}: this machine has another model, or other settings of it, than the driver")
        self.job = job
        self._decoders = decoders
        self.store = Store(job.out)
        options = {**job.model, "precision": identity["precision"], "threads": job.threads}
        self.aligner = Aligner.load(job.config, **options)
        names = self.aligner.decoder.face_model.expression_names
        self.schema = faces_schema(names)
        self.made_by = {
            "model": identity["model"],
            "precision": identity["precision"],
            "provider": self.aligner.device,
            "version": __version__,
        }

    def run(self, task: Task) -> Summary:
        """Process one shard: its files get their names together, then its manifest marks it as done.

        Raises
        ------
        OSError
            If the results cannot be written.
        """
        begin = time.perf_counter()
        data = self.store.read(task.file, task.start, task.end)
        if data is None:
            raise FileNotFoundError(f"{self.store.url}: {task.file} is gone: another run has changed the plan")
        items = unpack(data)
        photos = [item for item in items if item.kind == "photo"]
        attempt = Attempt(self.store, task)
        with _Shard(self, task.shard) as shard:
            if attempt.is_careful:
                self._do_one_by_one(items, shard, attempt)
            elif photos:
                self._do_photos(photos, shard)
            else:
                self._do_video(items[0], shard)
        manifest = {
            "shard": task.shard,
            "inputs": task.inputs,
            "photos": len(photos),
            "videos": len(items) - len(photos),
            "frames": shard.frames,
            "faces": shard.table.rows,
            **self.made_by,
            "errors": shard.errors,
        }
        name = manifest_name(task.shard, task.inputs, shard.table.rows, len(shard.errors))
        self.store.write(name, json.dumps(manifest, indent=1).encode())
        attempt.finish()
        return Summary(
            task.shard,
            len(photos),
            len(items) - len(photos),
            shard.frames,
            shard.table.rows,
            len(shard.errors),
            time.perf_counter() - begin,
            os.getpid(),
        )

    def _do_one_by_one(self, items: Sequence[Item], shard: _Shard, attempt: Attempt) -> None:
        for number, item in enumerate(items):
            if attempt.has_ended_processes(number):
                shard.add_error(item, REASON)
                continue
            attempt.begin(number)
            if item.kind == "video":
                self._do_video(item, shard)
            else:
                self._do_photos([item], shard, number)

    def _do_photos(self, items: Sequence[Item], shard: _Shard, first: int = 0) -> None:
        numbers = itertools.count(first)
        photos = load_photos(items, threads=self.job.threads, decoders=self._decoders)
        for batch in _batches(photos, self.job.batch_size):
            good = [loaded for loaded in batch if loaded.image is not None]
            faces = iter(self._faces(good))
            for loaded, number in zip(batch, numbers, strict=False):
                found = loaded.reason if loaded.image is None else next(faces)
                if isinstance(found, str):
                    shard.add_error(loaded.item, found)
                else:
                    assert loaded.image is not None
                    shard.add(loaded.item, number, None, loaded.image, found)

    def _faces(self, batch: Sequence[Loaded]) -> list[list[Face] | str]:
        """Faces of each photo, or the reason why there are none."""
        needs_name = self.aligner.detector is not None and self.aligner.detector.needs_name
        images = [loaded.image for loaded in batch if loaded.image is not None]
        if not needs_name:
            with contextlib.suppress(Exception):  # one of them: each is tried alone
                return list(self.aligner.batch(images))
        return [self._faces_alone(loaded.item, image) for loaded, image in zip(batch, images, strict=True)]

    def _faces_alone(self, item: Item, image: NDArray[np.uint8]) -> list[Face] | str:
        try:
            return self.aligner(image, name=item.name)
        except Exception as error:
            return item_reason(item, error)

    def _do_video(self, item: Item, shard: _Shard) -> None:
        try:
            for frame, faces in self._frames(item):
                shard.frames += 1
                shard.add(item, frame.index, frame.time, frame.image, faces)
        except _ItemError as error:
            shard.add_error(item, str(error))

    def _frames(self, item: Item) -> Iterator[tuple[video.Frame, list[Face]]]:
        count = 0
        try:
            with as_file(item) as path, video.open_source(path) as reader:
                for frame, faces in Tracker(self.aligner, **self.job.tracking).run(reader.frames()):
                    count += 1
                    yield frame, list(faces)
        except Exception as error:
            where = f"after {count} frames: " if count else ""
            raise _ItemError(where + item_reason(item, error)) from error


class _Shard:
    """The files of a shard while they are written; a context manager."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker, self._number = worker, number
        self._stack = contextlib.ExitStack()
        self._archives: dict[str, Archive] = {}
        self.errors: list[tuple[str, str]] = []
        self.frames = 0

    def __enter__(self) -> _Shard:
        store, job = self._worker.store, self._worker.job
        with self._stack:
            part = self._stack.enter_context(store.new_file(part_name(layout.FACES, self._number, "parquet")))
            self.table = self._stack.enter_context(TableFile(part, self._worker.schema))
            for folder, wanted in ((layout.CROPS, job.crops), (layout.MESHES, job.meshes)):
                if wanted is not None:
                    part = self._stack.enter_context(store.new_file(part_name(folder, self._number, "tar")))
                    self._archives[folder] = self._stack.enter_context(Archive(part))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add_error(self, item: Item, reason: str) -> None:
        self.errors.append((text(item.name), reason))

    def add(
        self, item: Item, number: int, seconds: float | None, image: NDArray[np.uint8], faces: Sequence[Face]
    ) -> None:
        """Add the faces of a photo, or of a frame."""
        worker = self._worker
        height, width = image.shape[:2]
        path, frame = text(item.name), None if seconds is None else number
        for k, face in enumerate(faces):
            about = {"path": path, "frame": frame, "time": seconds, "face": k}
            record = face.to_dict(worker.aligner.decoder, dense=worker.job.dense)
            self.table.add([{**about, "width": width, "height": height, **record, **worker.made_by}])
            self._add_files(item, f"{self._number:08d}-{number:08d}-{k:03d}", image, face, about)

    def _add_files(self, item: Item, key: str, image: NDArray[np.uint8], face: Face, about: Mapping[str, Any]) -> None:
        job = self._worker.job
        for folder, archive in self._archives.items():
            try:
                if folder == layout.CROPS:
                    assert job.crops is not None
                    files = crop_files(image, face, job.crops, about)
                else:
                    assert job.meshes is not None
                    files = mesh_files(image, face, self._worker.aligner.decoder, job.meshes, about)
            except Exception as error:  # of one face: the others are still made
                kind = "crop" if folder == layout.CROPS else "mesh"
                self.add_error(item, f"face {about['face']}: no {kind}: {item_reason(item, error)}")
                continue
            archive.add(key, files)


def _batches(photos: Iterable[Loaded], size: int) -> Iterator[list[Loaded]]:
    """Group photos by number and by bytes, which depend on the photos alone, so that a second run groups them alike."""
    batch: list[Loaded] = []
    held = 0
    for photo in photos:
        batch.append(photo)
        held += 0 if photo.image is None else photo.image.nbytes
        if len(batch) == size or held >= _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
