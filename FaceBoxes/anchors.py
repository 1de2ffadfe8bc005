"""Prior boxes of FaceBoxes, with the anchor densification of section 3.2 (Zhang et al., IJCB 2017)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# a network's file tells its anchors: more of them than any network has would take all memory
_MAX_STRIDE, _MAX_SIZE, _MAX_DENSITY = 4096, 100_000, 16
_MAX_PER_PX = 0.25
METADATA_KEY = "anchors"
"""Key of an ONNX file's metadata that holds `Anchors.to_json`."""

# variances of the offsets of centre and size
CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
SHORTEST = 1e-6
"""Shortest length, and shortest distance from a line, of the two columns that give a rotation."""

Maps = tuple[tuple[int, tuple[tuple[float, int], ...]], ...]


@dataclass(frozen=True)
class Anchors:
    """Layout of a network's prior boxes.

    Attributes
    ----------
    maps : tuple of (stride, ((size, density), ...))
        One entry per feature map, in the order of the network's outputs. ``stride`` is the size of a cell in the image,
        px. Each ``(size, density)`` gives every cell ``density * density`` square priors with sides of ``size`` px. A
        map has ``ceil(height / stride)`` rows and ``ceil(width / stride)`` columns. The default is the layout of the
        paper.
    multiple : int
        The network pads the image on the right and at the bottom until both sides are multiples of this number, px.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> Anchors().priors(32, 32).shape
    (23, 3)
    >>> Anchors(((16, ((16, 2),)),)).priors(16, 16).tolist()
    [[0.0, 0.0, 16.0], [8.0, 0.0, 16.0], [0.0, 8.0, 16.0], [8.0, 8.0, 16.0]]
    """

    maps: Maps = (
        (32, ((32, 4), (64, 2), (128, 1))),
        (64, ((256, 1),)),
        (128, ((512, 1),)),
    )
    multiple: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        for stride, sizes in self.maps:
            if not 1 <= stride <= _MAX_STRIDE:
                raise ValueError(f"Anchors: expected a stride of 1..{_MAX_STRIDE} px, got {stride}")
            for size, density in sizes:
                if not 0 < size <= _MAX_SIZE:
                    raise ValueError(f"Anchors: expected a size over 0 and up to {_MAX_SIZE} px, got {size}")
                if not 1 <= density <= _MAX_DENSITY:
                    raise ValueError(f"Anchors: expected a density of 1..{_MAX_DENSITY}, got {density}")
        if not any(sizes for _, sizes in self.maps):
            raise ValueError("Anchors: expected one size or more, got none")
        per_px = sum(density**2 / stride**2 for stride, sizes in self.maps for _, density in sizes)
        if per_px > _MAX_PER_PX:
            raise ValueError(f"Anchors: expected at most {_MAX_PER_PX} prior boxes per px of the image, got {per_px:g}")
        if not 1 <= self.multiple <= _MAX_STRIDE:
            raise ValueError(f"Anchors: expected a multiple of 1..{_MAX_STRIDE} px, got {self.multiple}")

    def priors(self, height: int, width: int) -> NDArray[np.float32]:
        """Compute the prior boxes of an image, in the order of the network's outputs.

        Parameters
        ----------
        height, width : int
            Size of the network's input, px.

        Returns
        -------
        ndarray (n, 3) float32, read-only
            Centre x, centre y and side in px, ordered by map, then by cell (row by row), then by size. The result is
            cached by image size, so the frames of a video share one array.
        """
        height, width = (-(-side // self.multiple) * self.multiple for side in (height, width))
        return _priors(self.maps, height, width)

    def to_json(self) -> str:
        """Text for the key ``anchors`` of an ONNX file's metadata.

        Examples
        --------
        >>> Anchors().to_json()
        '[[32,[[32,4],[64,2],[128,1]]],[64,[[256,1]]],[128,[[512,1]]]]'
        >>> Anchors(((8, ((16, 1),)),), multiple=32).to_json()
        '{"maps":[[8,[[16,1]]]],"multiple":32}'
        """
        layout = self.maps if self.multiple == 1 else {"maps": self.maps, "multiple": self.multiple}
        return json.dumps(layout, separators=(",", ":"))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Anchors:
        """Read the layout from the metadata of an ONNX file.

        Parameters
        ----------
        metadata : mapping of str to str
            The key ``anchors`` holds the text of `to_json`. Older files do not have this key; their layout is that of
            the paper.

        Raises
        ------
        ValueError
            If the text is not such a layout.

        Examples
        --------
        >>> Anchors.from_metadata({"anchors": "[[8,[[12,1]]],[16,[[24,1],[48,1]]]]"}).maps
        ((8, ((12, 1),)), (16, ((24, 1), (48, 1))))
        >>> Anchors.from_metadata({}) == Anchors()
        True
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            return cls()
        try:
            layout = json.loads(text)
            maps, multiple = (layout["maps"], layout["multiple"]) if isinstance(layout, dict) else (layout, 1)
            read = tuple((_int(step), tuple((_number(s), _int(d)) for s, d in sizes)) for step, sizes in maps)
            return cls(read, _int(multiple))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f"metadata {METADATA_KEY}: expected [[stride, [[size, density], …]], …] or "
                f'{{"maps": …, "multiple": …}}, got {text[:99]!r}: {error}'
            ) from error


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")
    return value


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


@lru_cache(maxsize=8)
def _priors(layout: Maps, height: int, width: int) -> NDArray[np.float32]:
    maps = []
    for step, sizes in layout:
        rows, columns = -(-height // step), -(-width // step)
        cells = []
        for size, density in sizes:
            # a single prior is centred in its cell, dense ones start at the corner of the cell
            within = np.arange(density) / density if density > 1 else np.array([0.5])
            y, x = np.meshgrid(within, within, indexing="ij")
            cells.append(np.column_stack([x.ravel(), y.ravel(), np.full(x.size, size / step)]))
        template = np.concatenate(cells)
        i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        corner = np.stack([j, i, np.zeros_like(i)], axis=-1).reshape(-1, 1, 3)
        maps.append(((corner + template) * step).reshape(-1, 3))
    result = np.concatenate(maps).astype(np.float32)
    result.setflags(write=False)
    return result


def priors(height: int, width: int) -> NDArray[np.float32]:
    """Compute the prior boxes (n, 3) of the paper's layout: those of ``Anchors()``.

    Examples
    --------
    >>> priors(32, 32).shape
    (23, 3)
    """
    return Anchors().priors(height, width)


def decode(prior: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decode the network's offsets.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        The prior boxes, see `Anchors.priors`.
    offsets : ndarray (n, 4) float32
        The network's offsets of centre and size.

    Returns
    -------
    ndarray (n, 4) float32
        Boxes: x1, y1, x2, y2, px.

    Examples
    --------
    >>> decode(np.float32([[50, 60, 20]]), np.zeros((1, 4), np.float32)).tolist()
    [[40.0, 50.0, 60.0, 70.0]]
    """
    center = prior[:, :2] + offsets[:, :2] * (CENTER_VARIANCE * prior[:, 2:])
    half = 0.5 * prior[:, 2:] * np.exp(SIZE_VARIANCE * offsets[:, 2:])
    return np.concatenate([center - half, center + half], axis=1)


def decode_points(prior: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decode the network's five points per face.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        The prior boxes, see `Anchors.priors`.
    points : ndarray (n, 10) float32
        The network's x and y of each point in turn, in the order of `FaceBoxes.detections.POINTS`: from the centre of
        the prior box, in units of ``CENTER_VARIANCE`` times its side.

    Returns
    -------
    ndarray (n, 5, 2) float32
        x and y, px.

    Examples
    --------
    >>> decode_points(np.float32([[50, 60, 20]]), np.float32([[-2, -1, 2, -1, 0, 0, -1, 2, 1, 2]]))[0].tolist()
    [[46.0, 58.0], [54.0, 58.0], [50.0, 60.0], [48.0, 64.0], [52.0, 64.0]]
    """
    scale = CENTER_VARIANCE * prior[:, None, 2:]
    return prior[:, None, :2] + points.reshape(-1, 5, 2) * scale


def decode_rotations(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decode the network's head rotations.

    The six numbers are the first two columns of the matrix before they are made orthonormal (Zhou et al., "On the
    Continuity of Rotation Representations in Neural Networks", CVPR 2019, section 4.2).

    Parameters
    ----------
    numbers : ndarray (n, 6) float32

    Returns
    -------
    ndarray (n, 3, 3) float32
        See `FaceBoxes.Detections.rotations`.

    Examples
    --------
    >>> decode_rotations(np.float32([[2, 0, 0, 1, 3, 0]]))[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    # by component: NumPy's functions for vectors take longer than the arithmetic
    columns = numbers.T.astype(np.float64)
    first, second = columns[:3], columns[3:]
    x = first / np.sqrt((first * first).sum(axis=0)).clip(min=SHORTEST)
    second = second - (x * second).sum(axis=0) * x
    y = second / np.sqrt((second * second).sum(axis=0)).clip(min=SHORTEST)
    result = np.empty((len(numbers), 3, 3), dtype=np.float32)
    result[:, :, 0], result[:, :, 1] = x.T, y.T
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        result[:, i, 2] = x[j] * y[k] - x[k] * y[j]
    return result
