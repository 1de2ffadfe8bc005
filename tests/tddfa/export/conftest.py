from collections.abc import Callable

import numpy as np
import pytest

from tddfa.types import Mesh


@pytest.fixture
def octahedron() -> Callable[..., Mesh]:
    """Makes an octahedron in image px (y down), wound counter-clockwise for one who looks from outside."""

    def make(x: float = 120.0, *, colors: bool = False, uv: bool = False) -> Mesh:
        #                    left        right      top         bottom     front      back
        around = np.array([[-20, 0, 0], [20, 0, 0], [0, -30, 0], [0, 40, 0], [0, 0, 30], [0, 0, -30]])
        left, right, top, bottom, front, back = range(6)
        # The first: from the front one sees front in the middle, right of it right, above it top.
        triangles = [
            (front, right, top),
            (front, top, left),
            (front, left, bottom),
            (front, bottom, right),
            (back, top, right),
            (back, left, top),
            (back, bottom, left),
            (back, right, bottom),
        ]
        rng = np.random.default_rng(7)
        return Mesh(
            (around + np.array([x, 50.25, 5])).astype(np.float32),
            np.array(triangles, np.int32),
            colors=rng.random((6, 3), np.float32) if colors else None,
            uv=rng.random((6, 2), np.float32) if uv else None,
        )

    return make


@pytest.fixture
def texture() -> np.ndarray:
    """An image (8, 12, 3) with no two pixels alike and no symmetry."""
    return np.arange(8 * 12 * 3, dtype=np.uint16).astype(np.uint8).reshape(8, 12, 3)
