import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

def sample_surface(
    triangle_id: NDArray[np.int32],
    barycentric: Floats,
    triangles: NDArray[np.int32],
    vertices: Floats,
    visibility: Floats,
    image: Bytes,
    scale_x: float,
    scale_y: float,
    colors: Bytes,
    weight: Floats,
) -> None: ...
def mix_sides(
    colors: Bytes,
    weight: Floats,
    mirrorable: Bytes,
    change: Bytes,
    fill: Bytes,
    where: Bytes,
    inside: Bytes,
    sources: Bytes,
    out: Bytes,
) -> None: ...
def smallest_around(vertices: Indices, starts: Indices, values: Floats, out: Floats) -> None: ...
def mean_around(vertices: Indices, starts: Indices, values: Floats, out: Floats) -> None: ...
def push_pull(values: Floats, out: Floats) -> None: ...
