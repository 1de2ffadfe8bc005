"""What several drawings need: types, sizes, and the order of faces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from Sim3DR import bounds
from tddfa.types import Mesh

Image = NDArray[np.uint8]
Background = Literal["image", "black", "white"]
Item = TypeVar("Item")

SHADOW = (40, 30, 24)
"""BGR of the dark rim that separates lines from the image."""


def checked_items(name: str, items: Sequence[Item], kind: type[Item]) -> list[Item]:
    """Return `items` as a list; raise `TypeError`, which names the argument, if they are not all of a kind."""
    if isinstance(items, kind):
        raise TypeError(f"{name}: expected a sequence of {kind.__name__}, got one {kind.__name__}; put it into a list")
    if not isinstance(items, Iterable):
        raise TypeError(f"{name}: expected a sequence of {kind.__name__}, got {type(items).__name__}")
    listed = list(items)
    for number, item in enumerate(listed):
        if not isinstance(item, kind):
            raise TypeError(f"{name}[{number}]: expected a {kind.__name__}, got {type(item).__name__}")
    return listed


def face_size(points: NDArray[np.float32]) -> float:
    low, high = bounds(points)
    return float((high - low)[:2].max())


# px: lines and dots get no wider on faces that are larger than any image
_WIDEST_AT = 100_000.0


def line_width(size: float) -> int:
    return max(1, round(min(size, _WIDEST_AT) / 220))


def dot_radius(size: float) -> float:
    return max(0.5, min(size, _WIDEST_AT) / 150)


def farthest_first(meshes: Sequence[Mesh]) -> list[Mesh]:
    # Distances between faces cannot be measured from one view, but heads are of about one size: a larger one is nearer.
    # Heads do not intersect, so drawing whole faces in this order equals the result of a shared depth buffer.
    def size(mesh: Mesh) -> float:
        low, high = bounds(mesh.vertices)
        return float(np.linalg.norm(high - low))

    listed = [mesh for mesh in checked_items("meshes", meshes, Mesh) if len(mesh.vertices)]
    return listed if len(listed) < 2 else sorted(listed, key=size)
