"""What is known of the faces of a video, as data: a line, or rows, a frame.

======== ==================================================================================================
.jsonl   a line a frame, flushed at once: a run that is cut short leaves what it had
.npz     arrays with one row a face, written when the recorder closes
.parquet a table with one row a face, written a group of rows at a time; needs ``pip install 'tddfa[parquet]'``
======== ==================================================================================================

A frame without faces is a line with an empty list in the first; in the others `frames` tells how many were seen.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from tddfa.types import Face
from tddfa.video import Frame

Describe = Callable[[Face], dict[str, Any]]
"""A face in plain numbers; ``lambda face: tddfa.outputs.describe(face, aligner)``."""

ROWS_PER_GROUP = 512
"""Rows that a parquet recorder holds in memory."""

SUFFIXES = (".jsonl", ".npz", ".parquet")

_COLUMNS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "frame": (np.int64, ()),
    "time": (np.float64, ()),
    "track_id": (np.int64, ()),  # -1: none
    "score": (np.float32, ()),
    "box": (np.float32, (4,)),
    "pose": (np.float32, (3,)),
    "landmarks": (np.float32, (68, 3)),
    "camera": (np.float32, (3, 4)),
    "shape": (np.float32, (0,)),  # as long as the first face's
    "expression": (np.float32, (0,)),
}
_BOX, _POSE, _LISTS = ("x1", "y1", "x2", "y2"), ("yaw", "pitch", "roll"), ("landmarks", "camera", "shape", "expression")
_BLOCK = 1024  # rows of an array of a .npz that is being collected


class Recorder(ABC):
    """Collects the faces of frames in a file: a context manager. `Recorder.open` makes it.

    Leaving the ``with`` block by an exception, Ctrl-C too, keeps what was added so far.

    Attributes
    ----------
    frames, faces : int
        Added so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self.faces = 0
        self._closed = False

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Recorder:
        """Open a recorder by the suffix of its file; missing folders are made.

        Raises
        ------
        ValueError
            If the suffix is another than `SUFFIXES`.
        ImportError
            If ``.parquet`` is asked for and pyarrow is missing; the message says how to get it.
        OSError
            If the file cannot be written.
        """
        path = Path(path)
        kinds: dict[str, type[Recorder]] = {".jsonl": _Lines, ".npz": _Arrays, ".parquet": _Table}
        kind = kinds.get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return kind(path)

    def add(self, frame: Frame, faces: Sequence[Face], describe: Describe | None = None) -> None:
        """Add a frame and its faces.

        Parameters
        ----------
        frame : Frame
            Its index and time are kept.
        faces : sequence of Face
            May be empty.
        describe : callable, optional
            Face to plain numbers, for ``.jsonl`` (without it, a line holds what a row of the others does). The others
            do not call it.
        """
        if self._closed:
            raise ValueError(f"{self.path}: the file is closed")
        self._add(frame, faces, describe or _plain)
        self.frames += 1
        self.faces += len(faces)

    def close(self) -> None:
        """Finish the file; may be called twice."""
        if not self._closed:
            self._closed = True
            self._close()

    @abstractmethod
    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _row(frame: Frame, face: Face) -> dict[str, Any]:
    """One face in the columns of ``.npz``."""
    return {
        "frame": frame.index,
        "time": frame.time,
        "track_id": -1 if face.track_id is None else face.track_id,
        "score": face.score,
        "box": face.box,
        "pose": np.array(face.camera.euler_degrees(), dtype=np.float32),
        "landmarks": face.landmarks,
        "camera": face.camera.matrix,
        "shape": face.params.shape,
        "expression": face.params.expression,
    }


def _plain(face: Face) -> dict[str, Any]:
    pose = face.camera.euler_degrees()
    return {
        "box": face.box.tolist(),
        "score": face.score,
        "track_id": face.track_id,
        "pose": pose._asdict(),
        "landmarks": face.landmarks.tolist(),
        "camera": face.camera.matrix.tolist(),
        "shape": face.params.shape.tolist(),
        "expression": face.params.expression.tolist(),
    }


class _Lines(Recorder):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file: TextIO = path.open("w", encoding="utf-8", newline="\n")

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        height, width = frame.image.shape[:2]
        content = {
            "frame": frame.index,
            "time": round(frame.time, 6),
            "width": width,
            "height": height,
            "faces": [describe(face) for face in faces],
        }
        # in one piece, so that no line is cut in two but by the system
        self._file.write(json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n")
        self._file.flush()

    def _close(self) -> None:
        self._file.close()


class _Arrays(Recorder):
    """Rows in blocks that are allocated whole: 1.3 kB a face, and no object for each."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._blocks: dict[str, list[NDArray[Any]]] = {name: [] for name in _COLUMNS}
        self._rows = 0
        self._part = _part_of(path)

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        del describe  # rows hold numbers only
        rows = [_row(frame, face) for face in faces]
        _check_widths(self.path, rows, {name: parts[0].shape[1:] for name, parts in self._blocks.items() if parts})
        for row in rows:
            at = self._rows % _BLOCK
            for name, parts in self._blocks.items():
                if at == 0:
                    parts.append(np.empty((_BLOCK, *np.shape(row[name])), _COLUMNS[name][0]))
                parts[-1][at] = row[name]
            self._rows += 1

    def _close(self) -> None:
        try:
            arrays: dict[str, Any] = {"frames": np.array(self.frames)}
            for name, parts in self._blocks.items():
                dtype, shape = _COLUMNS[name]
                arrays[name] = np.concatenate(parts)[: self._rows] if parts else np.zeros((0, *shape), dtype)
                parts.clear()
            with self._part.open("wb") as file:
                np.savez(file, **arrays)
            self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)


def _check_widths(path: Path, rows: Sequence[dict[str, Any]], widths: dict[str, tuple[int, ...]]) -> None:
    for row in rows:
        for name, shape in widths.items():
            if np.shape(row[name]) != shape:
                came = np.shape(row[name])
                raise ValueError(f"{path}: {name}: expected shape {shape}, as in the rows before, got {came}")


def _part_of(path: Path) -> Path:
    """An empty file beside `path`, so that a folder that cannot be written is said so at the start."""
    part = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
    part.touch()
    return part


class _Table(Recorder):
    """Columns of one row a face; rows go to the disk a group at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(f"{path}: a .parquet file needs pyarrow: pip install 'tddfa[parquet]'") from error
        self._pyarrow: Any = pyarrow
        self._schema: Any = None
        self._writer: Any = None
        self._widths: dict[str, tuple[int, ...]] = {}
        self._rows: list[dict[str, Any]] = []
        self._part = _part_of(path)

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        del describe  # rows hold numbers only
        rows = [_row(frame, face) for face in faces]
        if rows and not self._widths:
            self._widths = {name: np.shape(rows[0][name]) for name in ("shape", "expression")}
        _check_widths(self.path, rows, self._widths)
        self._rows += rows
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def _start(self) -> None:
        pa = self._pyarrow
        columns = [("frame", pa.int64()), ("time", pa.float64()), ("track_id", pa.int64())]
        columns += [(name, pa.float32()) for name in ("score", *_BOX, *_POSE)]
        for name in _LISTS:
            width = math.prod(self._widths.get(name, _COLUMNS[name][1]))
            columns.append((name, pa.list_(pa.float32(), width)))
        self._schema = pa.schema(columns)
        self._writer = pa.parquet.ParquetWriter(str(self._part), self._schema)

    def _flush(self) -> None:
        if self._writer is None:
            self._start()
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("frame", "time", "score")}
        columns["track_id"] = [None if row["track_id"] < 0 else row["track_id"] for row in rows]
        for names, group in ((_BOX, "box"), (_POSE, "pose")):
            columns.update(zip(names, np.array([row[group] for row in rows]).T, strict=True))
        for name in _LISTS:
            columns[name] = [row[name].ravel() for row in rows]
        arrays = [self._pyarrow.array(columns[field.name], type=field.type) for field in self._schema]
        self._writer.write_table(self._pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def _close(self) -> None:
        try:
            self._flush()
            self._writer.add_key_value_metadata({"frames": str(self.frames)})
            self._writer.close()
            self._part.replace(self.path)
        finally:
            if self._writer is not None and self._writer.is_open:
                self._writer.close()
            self._part.unlink(missing_ok=True)
