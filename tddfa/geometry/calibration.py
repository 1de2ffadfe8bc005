"""Files of calibrated cameras to `Intrinsics`: those of OpenCV's calibration, or of a script around it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tddfa._shared.errors import FormatError
from tddfa._shared.npz import read_npz
from tddfa._shared.reading.regular import read_text, regular_size
from tddfa._shared.reading.text import Loader, parse_json, parse_yaml
from tddfa.geometry.intrinsics import Intrinsics, checked_size

SUFFIXES = (".npz", ".json", ".yml", ".yaml")
"""Formats that can be read."""

# A file may hold the images and corners of a calibration beside its matrix; only the keys below are read.
_MAX_BYTES = 16 << 20
_MAX_NUMBERS = 64
# The first name is ours; the others are those of OpenCV's calibration sample and Python tutorial.
_MATRIX, _DISTORTION = ("camera_matrix", "mtx"), ("dist_coeffs", "distortion_coefficients", "dist")
_WIDTH, _HEIGHT = "image_width", "image_height"
_KEYS = (*_MATRIX, *_DISTORTION, _WIDTH, _HEIGHT)
# Aspect ratios that differ by less are equal up to rounding.
_SAME_SHAPE = 0.01


def read(path: str | os.PathLike[str], image_size: tuple[int, int] | None = None) -> Intrinsics:
    """Read a calibration.

    Its keys are ``camera_matrix`` (3 x 3; ``mtx`` in OpenCV's tutorial) and, for a lens with distortion,
    ``dist_coeffs`` (``distortion_coefficients`` or ``dist``). If it has ``image_width`` and ``image_height``, the
    matrix is scaled to an image of another size and the same aspect ratio.

    Parameters
    ----------
    path : path
        ``.npz`` of NumPy, or ``.json`` or ``.yml`` as OpenCV's ``FileStorage`` writes them, or with plain lists.
    image_size : tuple of int, optional
        Height and width of the image, px.

    Raises
    ------
    ValueError
        If the file is not a calibration, if a key is missing or has a wrong value, or if it is for images of another
        aspect ratio; the message names file and key. Also if `image_size` is not a size.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from tddfa.geometry import calibration
    >>> path = tmp / "camera.json"
    >>> _ = path.write_text('{"camera_matrix": [[800, 0, 320], [0, 800, 240], [0, 0, 1]]}')
    >>> calibration.read(path).focal
    800.0
    """
    path = Path(path)
    image_size = None if image_size is None else checked_size(image_size)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a calibration that ends in {', '.join(SUFFIXES)}")
    try:
        regular_size(path)
        content = read_npz(path, _MAX_BYTES, _KEYS) if suffix == ".npz" else _read_text(path)
    except FormatError as error:
        raise ValueError(f"{path}: not a calibration that can be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys and values, got {type(content).__name__}")
    name = next((name for name in _MATRIX if name in content), None)
    if name is None:
        got = ", ".join(map(str, content))[:99] or "none"
        raise ValueError(f"{path}: expected a key {_MATRIX[0]!r}, got {got}")
    matrix = _numbers(f"{path}: {name}", content[name])
    if matrix.size != 9:
        raise ValueError(f"{path}: {name}: expected 3 x 3 numbers, got {matrix.size}")
    bent = next((name for name in _DISTORTION if not _is_empty(content.get(name))), None)
    distortion = np.zeros(0) if bent is None else _numbers(f"{path}: {bent}", content[bent]).ravel()
    try:
        return Intrinsics(_scaled(matrix.reshape(3, 3), content, image_size), distortion)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _scaled(matrix: np.ndarray[Any, Any], content: dict[str, Any], image_size: tuple[int, int] | None) -> Any:
    """The matrix, scaled from the image size in the file to `image_size`."""
    made = [content.get(name) for name in (_HEIGHT, _WIDTH)]
    if image_size is None or any(side is None for side in made):
        return matrix
    sides = [float(_numbers(name, side).reshape(-1)[0]) for name, side in zip((_HEIGHT, _WIDTH), made, strict=True)]
    if min(sides) < 1:
        raise ValueError(f"expected {_WIDTH}, {_HEIGHT} of 1 px or more, got {sides[1]:g} x {sides[0]:g}")
    down, across = (now / then for now, then in zip(image_size, sides, strict=True))
    if abs(down / across - 1) > _SAME_SHAPE:
        raise ValueError(
            f"made for images of {sides[1]:g} x {sides[0]:g} px, which is another aspect ratio than "
            f"{image_size[1]} x {image_size[0]}"
        )
    # pixel centres are at whole numbers: scaling keeps the edges, which are half a pixel away
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(shift) @ np.diag([across, down, 1.0]) @ shift @ matrix


class _OpenCvLoader(Loader):
    """YAML with OpenCV's matrices, which are mappings of rows, cols, dt and data."""

    def opencv_matrix(self, node: Any) -> dict[Any, Any]:
        return self.construct_mapping(node, deep=True)


_OpenCvLoader.add_constructor("tag:yaml.org,2002:opencv-matrix", _OpenCvLoader.opencv_matrix)


def _read_text(path: Path) -> Any:
    text = read_text(path, _MAX_BYTES)
    if path.suffix.lower() == ".json":
        return parse_json(text)
    # OpenCV's first line, %YAML:1.0, is not valid YAML
    lines = text.split("\n", 1)
    return parse_yaml(lines[-1] if lines[0].startswith("%YAML") else text, _OpenCvLoader)


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):  # OpenCV's matrix
        value = value.get("data")
    return (
        value is None or (isinstance(value, list) and not value) or (isinstance(value, np.ndarray) and not value.size)
    )


def _numbers(name: str, value: Any) -> np.ndarray[Any, Any]:
    """A few numbers out of a plain value, a list, a list of lists, an array, or OpenCV's matrix."""
    if isinstance(value, dict):
        value = value.get("data")
    if isinstance(value, list):
        rows = [row if isinstance(row, list) else [row] for row in value[: _MAX_NUMBERS + 1]]
        if len(rows) > _MAX_NUMBERS or sum(len(row) for row in rows) > _MAX_NUMBERS:
            raise ValueError(f"{name}: expected at most {_MAX_NUMBERS} numbers, got more")
        value = [number for row in rows for number in row]
        if any(isinstance(number, list | dict) for number in value):
            raise ValueError(f"{name}: expected rows of numbers, got nested rows")
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not 0 < array.size <= _MAX_NUMBERS or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected a few finite numbers, got {array.dtype} of shape {array.shape}")
    return array.astype(np.float64)
