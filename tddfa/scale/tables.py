"""The tables: their columns, and files of them that are written in groups of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow
import pyarrow.parquet

from tddfa.types import SCHEMA

_ROWS_PER_GROUP = 1024
_NUMBER = pyarrow.float32()
_TEXT = pyarrow.string()

ERRORS = pyarrow.schema([("path", _TEXT), ("reason", _TEXT)])
"""Columns of ``errors.parquet``."""


def _list(kind: Any, length: int = -1) -> Any:
    return pyarrow.list_(kind, length)


def _matrix(rows: int, columns: int) -> Any:
    return _list(_list(_NUMBER, columns), rows)


def _struct(*names: str, kind: Any = _NUMBER, **others: Any) -> Any:
    return pyarrow.struct([*((name, kind) for name in names), *others.items()])


def faces_schema(expression_names: Sequence[str]) -> Any:
    """Return the columns of the table of faces: a row per face, with the keys of `Face.to_dict`.

    Parameters
    ----------
    expression_names : sequence of str
        Of the face model; each is a field of the column ``expression``.

    Examples
    --------
    >>> from tddfa.scale.tables import faces_schema
    >>> faces_schema(["jawOpen"]).names[:6]
    ['path', 'frame', 'time', 'face', 'width', 'height']
    """
    angles = _struct("yaw", "pitch", "roll")
    quaternion = _struct(order=_TEXT, values=_list(_NUMBER, 4))
    gaze = _struct("yaw", "pitch")
    six_dof = _struct(
        rotation=_matrix(3, 3),
        rotation_vector=_list(_NUMBER, 3),
        img2pose_vector=_list(_NUMBER),
        quaternion=quaternion,
        euler=_struct("yaw", "pitch", "roll", order=_TEXT),
        translation=_list(_NUMBER, 3),
        distance=_NUMBER,
        unit=_TEXT,
        box=_list(_NUMBER, 4),
        intrinsics=_struct(matrix=_matrix(3, 3), distortion=_list(_NUMBER), assumed=pyarrow.bool_()),
        reprojection_error_px=_NUMBER,
    )
    columns = {
        "path": _TEXT,
        "frame": pyarrow.int64(),
        "time": pyarrow.float64(),
        "face": pyarrow.int32(),
        "width": pyarrow.int32(),
        "height": pyarrow.int32(),
        "box": _list(_NUMBER, 4),
        "score": _NUMBER,
        "roi": _struct("left", "top", "side", "angle"),
        "pose": angles,
        "pose_order": _TEXT,
        "rotation": _matrix(3, 3),
        "quaternion": quaternion,
        "camera": _matrix(3, 4),
        "scale": _NUMBER,
        "landmarks": _matrix(68, 3),
        "landmark_convention": _TEXT,
        "shape": _list(_NUMBER),
        "expression": _struct(*expression_names),
        "gaze": _struct("left", "right", kind=gaze),
        "track_id": pyarrow.int64(),
        "visible": _list(pyarrow.bool_()),
        "six_dof": six_dof,
        "confidence": _list(_NUMBER),
        "detected_points": _matrix(5, 2),
        "model": _TEXT,
        "precision": _TEXT,
        "provider": _TEXT,
        "version": _TEXT,
    }
    return pyarrow.schema(list(columns.items()), metadata={"schema": str(SCHEMA)})


class TableFile:
    """A Parquet file that grows by rows; a context manager. Only a group of rows is in memory.

    Parameters
    ----------
    path : path
        A local file.
    schema : pyarrow.Schema
        Keys of a row that are not in the schema are an error; missing keys are null.

    Attributes
    ----------
    rows : int
        Number of rows so far.

    Examples
    --------
    >>> from tddfa.scale.tables import ERRORS, TableFile
    >>> with TableFile(tmp / "errors.parquet", ERRORS) as table:
    ...     table.add([{"path": "a.jpg", "reason": "no such file"}])
    >>> table.rows
    1
    """

    def __init__(self, path: Path, schema: Any) -> None:
        self.rows = 0
        self._schema = schema
        self._waiting: list[Mapping[str, Any]] = []
        self._writer = pyarrow.parquet.ParquetWriter(str(path), schema, compression="zstd")

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows."""
        for row in rows:
            unknown = row.keys() - set(self._schema.names)
            if unknown:
                raise ValueError(f"rows: expected the keys of the table, got {', '.join(sorted(unknown))} too")
            self._waiting.append(row)
            self.rows += 1
            if len(self._waiting) == _ROWS_PER_GROUP:
                self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pyarrow.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()


def text(name: str) -> str:
    r"""Return a file name that UTF-8 can encode: bytes that are not UTF-8 become escapes such as ``\xff``.

    Examples
    --------
    >>> from tddfa.scale.tables import text
    >>> text("a\udcff.jpg")
    'a\\xff.jpg'
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return name
