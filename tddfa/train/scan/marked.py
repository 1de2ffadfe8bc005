"""Scans whose landmarks were marked, in the layout of 2S-SGCN, as training data.

A folder holds meshes, each with a ``.npz`` of the same name whose array ``v10`` has the indices (68,) of the landmarks'
vertices, in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa._shared.errors import FormatError
from tddfa._shared.npz import read_npz
from tddfa.landmarks68 import COUNT
from tddfa.model.face_model import FaceModel
from tddfa.scan.face import UNITS, is_odd, unit_of
from tddfa.scan.files.reading import SUFFIXES, file_vertices, read_scan
from tddfa.scan.head import mean_landmarks
from tddfa.scan.mesh import Scan
from tddfa.scan.similarity import fit_similarity
from tddfa.synthetic.scans import LabelledScan
from tddfa.train.scan.shards import PER_FILE, POINTS, points_of, write_file

INDICES = "v10"
"""Name of the array of indices."""

_MAX_BYTES = 1 << 20


def marked_scan(path: Path, mean: NDArray[np.float64]) -> LabelledScan:
    """Read a mesh and its landmarks; convert them to mm.

    Parameters
    ----------
    path : Path
        The mesh; the ``.npz`` is beside it.
    mean : ndarray (68, 3)
        `mean_landmarks`: pose and unit are those by which the landmarks fit them best. A face that has the usual size
        in no unit gets that of the mean face.

    Raises
    ------
    FormatError
        If a file is missing or damaged, or if the indices are not those of 68 vertices; the message names the file.
    """
    labels = path.with_suffix(".npz")
    points = file_vertices(path)
    try:
        arrays = read_npz(labels, _MAX_BYTES, (INDICES,))
        if INDICES not in arrays:
            raise FormatError(f"expected an array {INDICES!r}, got {', '.join(sorted(arrays)) or 'none'}")
        indices = checked(INDICES, arrays[INDICES].reshape(-1), (COUNT,), np.int64)
        if indices.min() < 0 or indices.max() >= len(points):
            raise ValueError(f"{INDICES}: expected indices 0..{len(points) - 1}, got {indices.min()}..{indices.max()}")
    except (OSError, TypeError, ValueError) as error:
        raise FormatError(f"{labels}: {getattr(error, 'strerror', None) or error}") from error
    landmarks = points[indices]
    if not np.isfinite(landmarks).all() or np.ptp(landmarks, axis=0).max() == 0:
        raise FormatError(f"{labels}: expected landmarks at different places, got one place, or NaN or infinity")
    pose = fit_similarity(mean, landmarks)
    unit, size = unit_of(pose.scale)
    # no known unit: the face gets the usual size
    per_mm = pose.scale if is_odd(size) else UNITS[unit]
    scan = read_scan(path)
    return LabelledScan(Scan(scan.vertices / per_mm, scan.triangles), landmarks / per_mm, pose.rotation, covered=False)


def marked_paths(folder: Path) -> list[Path]:
    """Meshes of a folder that have labels, by name.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.with_suffix(".npz").exists()
    )
    if not paths:
        raise FileNotFoundError(f"{folder}: no scans ({' '.join(SUFFIXES)}) with a .npz of the same name beside them")
    return paths


def write_marked(out: Path, folder: Path, model: FaceModel, seed: int, count: int = POINTS) -> Iterator[int]:
    """Write the marked scans of a folder to files that `read_scans` reads; those that exist are kept.

    Yields how many scans are done, a file at a time.

    Raises
    ------
    FileNotFoundError
        If there are none.
    FormatError
        If one is damaged, or shows no face; the message names it.
    """
    paths, mean = marked_paths(folder), mean_landmarks(model)
    for start in range(0, len(paths), PER_FILE):
        path = out / f"scans-{start // PER_FILE:05d}.npz"
        chosen = range(start, min(start + PER_FILE, len(paths)))
        if not path.exists():
            parts = []
            for number in chosen:
                points = points_of(
                    marked_scan(paths[number], mean), np.random.default_rng((seed, number)), number, count
                )
                if points is None:
                    raise FormatError(f"{paths[number]}: expected triangles around the landmarks, got none or few")
                parts.append(points)
            write_file(path, parts)
        yield chosen.stop
