import numpy as np
from numpy.typing import NDArray

class Block:
    def __init__(self, size: int) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def rasterize(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    left: int,
    top: int,
    cull: int,
    threads: int,
    depth: NDArray[np.float32],
    triangle_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
) -> None: ...
def render(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    attributes: NDArray[np.float32] | None,
    left: int,
    top: int,
    cull: int,
    threads: int,
    depth: NDArray[np.float32],
    colors: NDArray[np.uint8] | None,
) -> None: ...
def interpolate(
    triangle_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    attributes: NDArray[np.float32],
    background: NDArray[np.float32],
    threads: int,
    out: NDArray[np.float32],
) -> None: ...
def interpolate_bytes(
    triangle_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    attributes: NDArray[np.float32],
    background: NDArray[np.float32],
    threads: int,
    out: NDArray[np.uint8],
) -> None: ...
def vertex_normals(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    normals: NDArray[np.float32],
) -> None: ...
def bounds(points: NDArray[np.float32], out: NDArray[np.float32]) -> None: ...
def close_holes(
    depth: NDArray[np.float32],
    triangle_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    max_px: float,
    gap: float,
) -> None: ...
def close_holes_of_colors(
    depth: NDArray[np.float32], colors: NDArray[np.uint8] | None, max_px: float, gap: float
) -> None: ...
def composite(
    triangle_id: NDArray[np.int32] | None,
    depth: NDArray[np.float32],
    layer: NDArray[np.uint8],
    palette: NDArray[np.uint8] | None,
    background: NDArray[np.uint8],
    out: NDArray[np.uint8],
    alpha: float,
    translucent: bool,
    factor: int,
    threads: int,
) -> None: ...
