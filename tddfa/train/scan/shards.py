"""Scans in files, so that training does not wait for them: points of each scan, in the frame of the head.

A folder holds ``scans-NNNNN.npz`` with up to `PER_FILE` scans each::

    face (s, p, 3) float16           p points around the face, mm, from the middle of the landmarks
    face_normals (s, p, 3) int8      their normals, 127 is 1
    landmarks (s, 68, 3) float32     mm, from their middle
    seed (s,) int64                  of a synthetic scan; of a marked one, its number
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa._shared.errors import FormatError
from tddfa._shared.files import write_atomic
from tddfa._shared.npz import read_npz
from tddfa.model.face_model import FaceModel
from tddfa.scan.mesh import Scan
from tddfa.scan.sampling import random_points
from tddfa.synthetic.scans import LabelledScan, ScanSettings, synthetic_scan

PER_FILE = 50
POINTS = 8192
"""Points of a scan that are stored, by default."""

FACE_RADIUS = 150.0
"""Radius of the part of a scan that is stored, mm."""

_MAX_BYTES = 1 << 30
# A scan with fewer vertices near the face shows none.
_MIN_VERTICES = 200


@dataclass(frozen=True, eq=False)
class ScanPoints:
    """Points of s scans with known landmarks; the arrays are those of the module's docstring."""

    face: NDArray[np.float16]
    face_normals: NDArray[np.int8]
    landmarks: NDArray[np.float32]
    seed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.landmarks)

    @classmethod
    def joined(cls, parts: Sequence[ScanPoints]) -> ScanPoints:
        """Put scans together."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def take(self, rows: slice) -> ScanPoints:
        """Some of the scans."""
        return ScanPoints(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def points_of(made: LabelledScan, rng: np.random.Generator, seed: int = 0, count: int = POINTS) -> ScanPoints | None:
    """Draw the stored points of one scan; None if it shows no face."""
    middle = made.landmarks.mean(axis=0)
    turned = Scan((made.scan.vertices - middle) @ made.rotation, made.scan.triangles)
    near = np.linalg.norm(turned.vertices, axis=1) < FACE_RADIUS
    of_face = turned.triangles[near[turned.triangles].all(axis=1)]
    if near.sum() < _MIN_VERTICES or not len(of_face):
        return None
    points, normals = random_points(Scan(turned.vertices, of_face), count, rng)
    landmarks = ((made.landmarks - middle) @ made.rotation).astype(np.float32)
    return ScanPoints(
        points.astype(np.float16)[None],
        np.rint(127 * normals).astype(np.int8)[None],
        landmarks[None],
        np.array([seed]),
    )


def write_scans(
    out: Path, model: FaceModel, settings: ScanSettings, first: int, count: int, points: int = POINTS
) -> Iterator[int]:
    """Make scans with the seeds from `first` on and write them to files; those that exist are kept.

    Yields how many scans are done, a file at a time.
    """
    for start in range(first, first + count, PER_FILE):
        path = out / f"scans-{start // PER_FILE:05d}.npz"
        seeds = range(start, min(start + PER_FILE, first + count))
        if not path.exists():
            made = (
                points_of(synthetic_scan(model, seed, settings), np.random.default_rng(seed), seed, points)
                for seed in seeds
            )
            write_file(path, [part for part in made if part is not None])
        yield seeds.stop - first


def write_file(path: Path, parts: Iterable[ScanPoints]) -> None:
    """Write scans to one file."""
    together = ScanPoints.joined(list(parts))
    buffer = io.BytesIO()
    np.savez(buffer, **{name: getattr(together, name) for name in ScanPoints.__dataclass_fields__})
    write_atomic(path, buffer.getvalue())


def read_scans(folders: Sequence[Path]) -> ScanPoints:
    """Read all scans of some folders.

    Raises
    ------
    FileNotFoundError
        If a folder has none.
    ValueError
        If a file is damaged; the message names it.
    """
    paths = []
    for folder in folders:
        found = sorted(folder.glob("scans-*.npz"))
        if not found:
            raise FileNotFoundError(f"{folder}: no file scans-NNNNN.npz; tddfa train prepare scans makes them")
        paths += found
    parts = [_read(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.face.shape[1] != parts[0].face.shape[1]:
            raise ValueError(
                f"{path}: expected {parts[0].face.shape[1]} points of each scan, as in the first file, "
                f"got {part.face.shape[1]}"
            )
    return ScanPoints.joined(parts)


def _read(path: Path) -> ScanPoints:
    names = tuple(ScanPoints.__dataclass_fields__)
    try:
        arrays = read_npz(path, _MAX_BYTES, names)
        missing = [name for name in names if name not in arrays]
        if missing:
            raise FormatError(f"expected an array {missing[0]!r}, got {', '.join(sorted(arrays))}")
        count, points = arrays["face"].shape[:2] if arrays["face"].ndim == 3 else (0, 0)
        shapes: dict[str, tuple[tuple[int | None, ...], Any]] = {
            "face": ((count, points, 3), np.float16),
            "face_normals": ((count, points, 3), np.int8),
            "landmarks": ((count, 68, 3), np.float32),
            "seed": ((count,), np.int64),
        }
        return ScanPoints(*(checked(name, arrays[name], shape, dtype) for name, (shape, dtype) in shapes.items()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
