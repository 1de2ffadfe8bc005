"""Landmark files in the ``.pts`` format of 300-W (Sagonas et al., 2013)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa import landmarks68
from tddfa._shared.errors import reason
from tddfa.datasets.files import read_text

SPLIT = "lfpw"
"""Training may use the first 70 % by name of a folder of this name."""
_TRAINING_FRACTION = 0.7
_DEPTH = 3


def pts_folders(root: Path) -> list[Path]:
    """Find the folders with ``.pts`` files: `root` and the folders in it, at most three deep, sorted by name.

    Examples
    --------
    >>> pts_folders(tmp)
    []
    """
    return [folder for folder in _folders(root, _DEPTH) if next(iter(folder.glob("*.pts")), None)]


def held_out(folder: Path) -> list[Path]:
    """List the ``.pts`` files that no training may use: the last 30 % by name of the folder `SPLIT`, else all.

    Examples
    --------
    >>> held_out(tmp)
    []
    """
    paths = sorted(folder.glob("*.pts"))
    return paths[int(_TRAINING_FRACTION * len(paths)) :] if folder.resolve().name == SPLIT else paths


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    yield folder
    if depth:
        for inside in sorted(folder.iterdir()):
            if inside.is_dir() and not inside.name.startswith("."):
                yield from _folders(inside, depth - 1)


def read_pts(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    r"""Read the 68 landmarks of a ``.pts`` file.

    Parameters
    ----------
    path : path
        A text file: a header, then ``{``, a line ``x y`` per landmark, and ``}``.

    Returns
    -------
    ndarray (68, 2) float64
        px, with pixel centres at whole numbers from 0. (The file counts from 1.)

    Raises
    ------
    ValueError
        If the file holds something else, or landmarks without extent; the message names the file.

    Examples
    --------
    >>> lines = [f"{k + 1} {2 * k + 1}" for k in range(68)]
    >>> path = tmp / "face.pts"
    >>> _ = path.write_text("\n".join(["version: 1", "n_points: 68", "{", *lines, "}"]))
    >>> read_pts(path)[:2].tolist()
    [[0.0, 0.0], [1.0, 2.0]]
    """
    path = Path(path)
    head, opened, rest = read_text(path).partition("{")
    body, closed, _ = rest.partition("}")
    if not (opened and closed):
        raise ValueError(f"{path}: expected points between {{ and }}, as 300-W writes them")
    for line in head.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "n_points" and value.strip() != "68":
            raise ValueError(f"{path}: expected n_points: 68, got {value.strip()[:20]!r}")
    try:
        numbers = np.array(body.split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers between {{ and }}: {reason(error)}") from error
    if numbers.size != 2 * landmarks68.COUNT or not np.isfinite(numbers).all():
        raise ValueError(f"{path}: expected 68 finite points, x and y each, got {numbers.size} numbers")
    points = numbers.reshape(landmarks68.COUNT, 2) - 1
    right, left = points[list(landmarks68.OUTER_EYE_CORNERS)]
    if not np.ptp(points, axis=0).all() or (right == left).all():
        raise ValueError(f"{path}: expected points that span a box, with eyes apart")
    return points
