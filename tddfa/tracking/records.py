"""Files of the faces of a video: one line or some rows per frame.

======== ===================================================================================================
.jsonl   a line per frame, written at once to ``<name>.jsonl.part``, which gets its name when the recorder closes
.npz     arrays with a row per face, written when the recorder closes
.parquet a table with a row per face, written in groups of rows; needs ``pip install pyarrow``
======== ===================================================================================================

A file of an earlier run is kept until the new file is complete. It is also kept if a write fails, for example on a full
disk. The lines written before are then in the ``.part`` file, which the next run replaces.

All use the keys of `Face.to_dict`, and ``schema`` for their version: a key of each line, an array, an entry of the
table's metadata. ``frame`` and ``time`` (s) are the frame's, on the clock of the source. The video that ``tddfa video``
writes has the same clock, unless frames before the first are left out (``--start``). In the tables, ``expression``
holds the coefficients as they were predicted, not clipped to the face model's range; a face without ``track_id`` has -1
in ``.npz`` and null in ``.parquet``, whose lists are flat (``landmarks``: 204 numbers). A frame without faces is a line
with an empty list; in the tables, ``frames`` is the number of frames.
"""

from __future__ import annotations

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.files import MAX_NAME_BYTES, check_length, created_part, cut, naming
from tddfa._shared.packages import needs
from tddfa.geometry.rotation import Euler
from tddfa.types import SCHEMA, Face
from tddfa.video import Frame

Describe = Callable[[Face], dict[str, Any]]
"""A face as plain numbers, for ``.jsonl``."""

SUFFIXES = (".jsonl", ".npz", ".parquet")

_PART_BYTES = MAX_NAME_BYTES - len(".part")  # of a name that a growing file repeats
_ROWS_PER_GROUP = 512  # rows that a parquet recorder holds in memory
_ROWS_PER_BLOCK = 1024  # rows of the arrays in which a .npz is collected

_COLUMNS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "frame": (np.int64, ()),
    "time": (np.float64, ()),
    "track_id": (np.int64, ()),
    "score": (np.float32, ()),
    "box": (np.float32, (4,)),
    "pose": (np.float32, (3,)),
    "landmarks": (np.float32, (68, 3)),
    "camera": (np.float32, (3, 4)),
    "shape": (np.float32, (0,)),  # as long as that of the first face
    "expression": (np.float32, (0,)),
}


class Recorder(ABC):
    """Writes the faces of a video to a file; a context manager. `Recorder.open` creates it.

    If an exception or Ctrl-C ends the ``with`` block, the file keeps what was added before.

    Attributes
    ----------
    path : Path
        The file.
    frames, faces : int
        Numbers of frames and of faces added so far.

    Examples
    --------
    >>> from tddfa.tracking.records import Recorder
    >>> from tddfa.video import Frame
    >>> with Recorder.open(tmp / "faces.npz") as recorder:
    ...     recorder.add(Frame(image, 0, 0.0), [face])
    >>> np.load(tmp / "faces.npz")["landmarks"].shape
    (1, 68, 3)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self.faces = 0
        self._closed = False
        self._failure: Exception | None = None  # of a write: what is on the disk is not whole

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Recorder:
        """Create a recorder for the suffix of a file; missing folders are created.

        Parameters
        ----------
        path : str or path
            Its suffix is one of `SUFFIXES`.

        Raises
        ------
        ValueError
            If the suffix is not one of `SUFFIXES`.
        ImportError
            If the suffix is ``.parquet`` and pyarrow is missing; the message gives the pip command.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> from tddfa.tracking.records import Recorder
        >>> from tddfa.video import Frame
        >>> with Recorder.open(tmp / "faces.jsonl") as recorder:
        ...     recorder.add(Frame(image, 0, 0.0), [])
        >>> (tmp / "faces.jsonl").read_text().strip()
        '{"schema":1,"frame":0,"time":0.0,"width":512,"height":512,"faces":[]}'
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
            Its index, time and size are recorded.
        faces : sequence of Face
            May be empty.
        describe : callable, optional
            Face to a record, for ``.jsonl``. None takes `Face.to_dict`. The other formats do not call it.

        Raises
        ------
        ValueError
            If the recorder is closed, or if the faces are of another face model than those before.
        """
        if self._closed:
            raise ValueError(f"{self.path}: the file is closed")
        self._add(frame, faces, describe or Face.to_dict)
        self.frames += 1
        self.faces += len(faces)

    def close(self) -> None:
        """Finish the file. A second call does nothing.

        Raises
        ------
        OSError
            If the file cannot be written, now or before; a file of that name is as it was.
        """
        if self._closed:
            return
        self._closed = True
        if self._failure is None:
            self._close()
            return
        self._discard()
        raise OSError(f"{self.path}: not written, because an earlier write failed") from self._failure

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Writes to the disk: their errors name the file, and it does not get its name after one."""
        try:
            with naming(self.path):
                yield
        except Exception as error:
            self._failure = error
            raise

    @abstractmethod
    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _discard(self) -> None: ...

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and (self._failure is not None or not self.frames):
            # a write that failed has raised its own error; without a frame, the file of an earlier run stays
            self._closed = True
            self._discard()
        else:
            self.close()


def _row(frame: Frame, face: Face) -> dict[str, Any]:
    """One face in the columns of `_COLUMNS`."""
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


class _Lines(Recorder):
    """Lines of a stream with a name of its own, so that they can be read while it grows."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        check_length(path)
        self._part = path.with_name(f"{cut(path.name, _PART_BYTES)}.part")
        with naming(path):
            self._file = self._part.open("wb", buffering=0)
        self._whole = 0  # bytes of whole lines

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        height, width = frame.image.shape[:2]
        content = {
            "schema": SCHEMA,
            "frame": frame.index,
            "time": round(frame.time, 6),
            "width": width,
            "height": height,
            "faces": [describe(face) for face in faces],
        }
        line = memoryview((json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n").encode())
        done = 0
        try:
            with self._writing():
                while done < len(line):  # a disk that becomes full takes a part of it first
                    done += self._file.write(line[done:])
            self._whole += len(line)
        except BaseException:
            # an exception leaves no half line
            self._file.truncate(self._whole)
            self._file.seek(self._whole)
            raise

    def _close(self) -> None:
        self._file.close()
        with naming(self.path):
            self._part.replace(self.path)

    def _discard(self) -> None:
        self._file.close()
        if not self._whole:
            self._part.unlink(missing_ok=True)


class _Arrays(Recorder):
    """Collects rows in preallocated blocks: 1.3 kB per face, and no object for each."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._blocks: dict[str, list[NDArray[Any]]] = {name: [] for name in _COLUMNS}
        self._rows = 0
        self._part = created_part(path)

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        del describe  # rows hold numbers only
        rows = [_row(frame, face) for face in faces]
        _check_widths(self.path, rows, {name: parts[0].shape[1:] for name, parts in self._blocks.items() if parts})
        for row in rows:
            at = self._rows % _ROWS_PER_BLOCK
            for name, parts in self._blocks.items():
                if at == 0:
                    parts.append(np.empty((_ROWS_PER_BLOCK, *np.shape(row[name])), _COLUMNS[name][0]))
                parts[-1][at] = row[name]
            self._rows += 1

    def _close(self) -> None:
        try:
            arrays: dict[str, Any] = {"schema": np.array(SCHEMA), "frames": np.array(self.frames)}
            for name, parts in self._blocks.items():
                dtype, shape = _COLUMNS[name]
                arrays[name] = np.concatenate(parts)[: self._rows] if parts else np.zeros((0, *shape), dtype)
                parts.clear()
            with naming(self.path):
                with self._part.open("wb") as file:
                    np.savez(file, **arrays)
                self._part.replace(self.path)
        finally:
            self._discard()

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)


def _check_widths(path: Path, rows: Sequence[dict[str, Any]], widths: dict[str, tuple[int, ...]]) -> None:
    for row in rows:
        for name, shape in widths.items():
            if np.shape(row[name]) != shape:
                got = np.shape(row[name])
                raise ValueError(f"{path}: {name}: expected shape {shape}, as in the rows before, got {got}")


class _Table(Recorder):
    """Collects rows and writes them in groups."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(needs(f"{path}: a .parquet file", "pyarrow")) from error
        self._pyarrow: Any = pyarrow
        self._schema: Any = None
        self._writer: Any = None
        self._widths: dict[str, tuple[int, ...]] = {}
        self._rows: list[dict[str, Any]] = []
        self._part = created_part(path)

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        del describe  # rows hold numbers only
        rows = [_row(frame, face) for face in faces]
        if rows and not self._widths:
            self._widths = {name: np.shape(rows[0][name]) for name in ("shape", "expression")}
        _check_widths(self.path, rows, self._widths)
        self._rows += rows
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def _start(self) -> None:
        columns = [self._pyarrow.field(name, self._type(name)) for name in _COLUMNS]
        self._schema = self._pyarrow.schema(columns, metadata={"schema": str(SCHEMA)})
        self._writer = self._pyarrow.parquet.ParquetWriter(str(self._part), self._schema)

    def _type(self, name: str) -> Any:
        dtype, shape = _COLUMNS[name]
        number = self._pyarrow.from_numpy_dtype(dtype)
        if name == "pose":
            return self._pyarrow.struct([(angle, number) for angle in Euler._fields])
        shape = self._widths.get(name, shape)
        if not shape:
            return number
        size = int(np.prod(shape))
        # lists of the fixed length 0 are written, but cannot be read
        return self._pyarrow.list_(number, size) if size else self._pyarrow.list_(number)

    def _flush(self) -> None:
        with self._writing():
            if self._writer is None:
                self._start()
            if not self._rows:
                return
            rows, self._rows = self._rows, []
            arrays = [
                self._pyarrow.array([_cell(name, row[name]) for row in rows], type=self._schema.field(name).type)
                for name in _COLUMNS
            ]
            self._writer.write_table(self._pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def _close(self) -> None:
        try:
            self._flush()
            with naming(self.path):
                self._writer.add_key_value_metadata({"frames": str(self.frames)})
                self._writer.close()
                self._part.replace(self.path)
        finally:
            self._discard()

    def _discard(self) -> None:
        if self._writer is not None and self._writer.is_open:
            with contextlib.suppress(Exception):  # the disk is still full
                self._writer.close()
        self._part.unlink(missing_ok=True)


def _cell(name: str, value: Any) -> Any:
    """A value of a row as pyarrow takes it."""
    if name == "track_id":
        return None if value < 0 else value
    if name == "pose":
        return dict(zip(Euler._fields, value, strict=True))
    return value.ravel() if isinstance(value, np.ndarray) else value
