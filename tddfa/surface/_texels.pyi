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
def mean_around(vertices: Indices, starts: Indices, values: Floats, of: NDArray[np.int64], out: Floats) -> None: ...
def push_pull(values: Floats, out: Floats) -> None: ...
def complete(colors: Bytes, weight: Floats, nearby: float, change: Bytes, fill: Bytes) -> None: ...
def darken(pixels: Bytes, indices: NDArray[np.int64], factors: Floats) -> None: ...
def unhidden(
    vertices: Floats,
    normals: Floats,
    part: Bytes | None,
    depth: Floats,
    nearest: Floats,
    limits: tuple[float, float, float, float, float, int],
    weight: Floats,
) -> None: ...
def feather(
    ring_vertices: Indices,
    starts: Indices,
    vertices: Floats,
    part: Bytes | None,
    distance: Floats,
    low: float,
    high: float,
    image_vertices: Floats,
    image_size: tuple[int, int],
    weight: Floats,
    out: Floats,
    rim: Floats,
) -> None: ...
