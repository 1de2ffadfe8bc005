"""Folders of labelled crops: reading and writing.

A folder holds ``labels.npz`` and the crops, as JPEGs in ``crops-NN.tar`` (members ``000123.jpg``, WebDataset's layout)
or as plain files ``000123.jpg``; of both, that in the tar is read. The number is the row of the labels::

    camera (n, 3, 4) float32        face model's unit to px of the crop (frames: tddfa.geometry.camera)
    shape (n, s), expression (n, e) the face model's coefficients
    source (n,) str                 name of the data set
    validation (n,) bool            for validation, never for training
    landmarks (n, 68, 2) float32    ground truth, px of the crop, NaN where unknown; may be missing
    has_params (n,) bool            whether camera, shape and expression are known; if missing, all True
    face (n,) bool                  whether there is a face; if missing, all True
    depth (n, 68) float32           z of the landmarks, px of the crop, larger towards the viewer, up to a constant for
                                    each face; NaN where unknown; may be missing
    person (n,) str                 name of the person, empty where unknown; may be missing
"""

from __future__ import annotations

import functools
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa._shared.errors import FormatError, reason
from tddfa._shared.files import write_together
from tddfa._shared.npz import read_npz

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

LABELS = "labels.npz"
_MEMBER = re.compile(r"(\d{1,9})\.jpg")
# Maximum size of a folder's labels in memory; a file that claims more is refused before it is read.
_MAX_BYTES = 4 << 30
_CROPS_PER_TAR = 5000


def _rows(camera: Any) -> int:
    """Number of rows; 0 for a single number, which the check of the shape refuses."""
    return (*np.shape(camera), 0)[0]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of n crops; see `tddfa.train.data.shards` for each array.

    Attributes
    ----------
    camera : ndarray (n, 3, 4) float32
    shape : ndarray (n, s) float32
    expression : ndarray (n, e) float32
    source : ndarray (n,) str
    validation, has_params, face : ndarray (n,) bool
    landmarks : ndarray (n, 68, 2) float32
        NaN where unknown.
    depth : ndarray (n, 68) float32
        NaN where unknown.
    person : ndarray (n,) str
        Empty where unknown.
    """

    camera: Floats
    shape: Floats
    expression: Floats
    source: NDArray[np.str_]
    validation: Flags
    landmarks: Floats
    has_params: Flags
    face: Flags
    depth: Floats
    person: NDArray[np.str_]

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        n = _rows(self.camera)
        for name, shape, dtype in (
            ("camera", (n, 3, 4), np.float32),
            ("shape", (n, None), np.float32),
            ("expression", (n, None), np.float32),
            ("validation", (n,), np.bool_),
            ("landmarks", (n, 68, 2), np.float32),
            ("has_params", (n,), np.bool_),
            ("face", (n,), np.bool_),
            ("depth", (n, 68), np.float32),
        ):
            value = checked(name, getattr(self, name), shape, dtype, finite=name not in ("landmarks", "depth"))
            object.__setattr__(self, name, value)
        for name in ("source", "person"):
            text = np.asarray(getattr(self, name))
            if text.shape != (n,) or text.dtype.kind != "U":
                raise ValueError(f"{name}: expected shape ({n},) of text, got {text.shape} of {text.dtype}")

    @classmethod
    def of(
        cls,
        camera: Any,
        shape: Any,
        expression: Any,
        source: Any,
        validation: Any = None,
        landmarks: Any = None,
        has_params: Any = None,
        face: Any = None,
        depth: Any = None,
        person: Any = None,
    ) -> Labels:
        """Make labels with defaults for the arrays that may be missing."""
        n = _rows(camera)
        return cls(
            camera=camera,
            shape=shape,
            expression=expression,
            source=np.full(n, source) if isinstance(source, str) else np.asarray(source),
            validation=np.zeros(n, dtype=bool) if validation is None else validation,
            landmarks=np.full((n, 68, 2), np.nan, dtype=np.float32) if landmarks is None else landmarks,
            has_params=np.ones(n, dtype=bool) if has_params is None else has_params,
            face=np.ones(n, dtype=bool) if face is None else face,
            depth=np.full((n, 68), np.nan, dtype=np.float32) if depth is None else depth,
            person=np.zeros(n, dtype="U1") if person is None else np.asarray(person),
        )

    def __len__(self) -> int:
        return len(self.camera)

    def take(self, rows: NDArray[np.intp] | Flags) -> Labels:
        """Labels of some rows."""
        return Labels(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    @staticmethod
    def joined(parts: Iterable[Labels]) -> Labels:
        """Labels of several folders, one after the other."""
        parts = list(parts)
        return Labels(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Labels.__dataclass_fields__}
        )


class Shard:
    """A folder's labels, and the bytes of its JPEGs, which stay on disk until they are read.

    Parameters
    ----------
    folder : path
        With ``labels.npz`` and the crops.

    Raises
    ------
    FileNotFoundError
        If there are no labels.
    ValueError
        If a file is damaged, if arrays do not fit, or if a row has no crop; the message names file and array.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.labels = _read_labels(self.folder / LABELS)
        count = len(self.labels)
        self._paths: list[Path] = []
        self._place = np.full((count, 3), -1, dtype=np.int64)  # tar, offset, size
        for path in sorted(self.folder.glob("*.tar")):
            self._index(path)
        self._files = {
            int(match[1]): path
            for path in sorted(self.folder.glob("*.jpg"))
            if (match := _MEMBER.fullmatch(path.name)) and int(match[1]) < count
        }
        missing = [row for row in np.flatnonzero(self._place[:, 2] < 0).tolist() if row not in self._files]
        if len(missing):
            raise ValueError(
                f"{self.folder}: expected a crop for each of {count} labels, "
                f"got none for {len(missing)}, the first of them {missing[0]:06d}.jpg"
            )

    def _index(self, path: Path) -> None:
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    match = _MEMBER.fullmatch(Path(member.name).name)
                    if match and member.isreg() and int(match[1]) < len(self.labels):
                        self._place[int(match[1])] = len(self._paths), member.offset_data, member.size
        except (OSError, tarfile.TarError) as error:
            raise ValueError(f"{path}: not a tar file that can be read: {reason(error)}") from error
        self._paths.append(path)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _tars(self) -> list[NDArray[np.uint8]]:
        return [np.memmap(path, dtype=np.uint8, mode="r") for path in self._paths]

    def __getstate__(self) -> dict[str, Any]:
        # a mapped file would be pickled byte by byte; another process maps it again
        return {name: value for name, value in self.__dict__.items() if name != "_tars"}

    def jpeg(self, row: int) -> NDArray[np.uint8]:
        """The bytes of a row's JPEG."""
        tar, offset, size = self._place[row].tolist()
        if tar < 0:
            return np.frombuffer(self._files[row].read_bytes(), dtype=np.uint8)
        return np.asarray(self._tars[tar][offset : offset + size])

    def name(self, row: int) -> str:
        """Name of a row's crop in messages."""
        return f"{self.folder}: {row:06d}.jpg"


def write_shard(folder: str | os.PathLike[str], jpegs: list[bytes], labels: Labels) -> Path:
    """Write a folder of crops; the labels last, so that a folder with labels is complete.

    All files are on the disk before one of them gets its name, and old labels are removed first. So crops are never
    beside the labels of other crops. After a full disk, the folder is unchanged. After a killed process, the folder is
    unchanged, without labels, or new.

    Parameters
    ----------
    folder : path
        Made if missing.
    jpegs : list of bytes
        The crops, one for each row.
    labels : Labels
        Of these crops.

    Raises
    ------
    ValueError
        If there are more or fewer crops than labels.
    OSError
        If a file cannot be written; it names the file.
    """
    folder = Path(folder)
    if len(jpegs) != len(labels):
        raise ValueError(f"jpegs: expected {len(labels)}, one for each label, got {len(jpegs)}")
    files: dict[Path, bytes | Callable[[], bytes]] = {
        folder / f"crops-{number:02d}.tar": functools.partial(_tar, jpegs, first)
        for number, first in enumerate(range(0, len(jpegs), _CROPS_PER_TAR))
    }
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(labels, name) for name in labels.__dataclass_fields__}
    np.savez_compressed(buffer, **arrays)
    write_together({**files, folder / LABELS: buffer.getvalue()}, sealed=True)
    return folder / LABELS


def _tar(jpegs: list[bytes], first: int) -> bytes:
    """A tar file of the crops from `first` on."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for row in range(first, min(first + _CROPS_PER_TAR, len(jpegs))):
            member = tarfile.TarInfo(f"{row:06d}.jpg")
            member.size = len(jpegs[row])
            archive.addfile(member, io.BytesIO(jpegs[row]))
    return buffer.getvalue()


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read all arrays of an untrusted ``.npz`` file: no pickles, and no more than 4 GiB.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return read_npz(path, _MAX_BYTES)
    except FormatError as error:
        raise ValueError(f"{path}: expected arrays (.npz) that can be read: {reason(error)}") from error


def _read_labels(path: Path) -> Labels:
    arrays = {name: array for name, array in read_arrays(path).items() if name in Labels.__dataclass_fields__}
    for name in ("camera", "shape", "expression", "source"):
        if name not in arrays:
            raise ValueError(f"{path}: expected an array {name!r}, got {', '.join(sorted(arrays)) or 'none'}")
    try:
        return Labels.of(**arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {reason(error)}") from error
