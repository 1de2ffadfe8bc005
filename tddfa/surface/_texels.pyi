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
    paint: tuple[NDArray[np.int64], Floats, NDArray[np.int64], Bytes],
    where: Bytes,
    inside: Bytes,
    sources: Bytes,
    out: Bytes,
) -> None: ...
def sample_mouth(
    texels: tuple[NDArray[np.int64], Indices, Floats, NDArray[np.int64]],
    chosen: Bytes,
    window: tuple[int, int, Floats, Floats, Indices],
    placing: tuple[float, float, float, float],
    vertices: Floats,
    limits: tuple[float, float],
    image: Bytes,
    scale_x: float,
    scale_y: float,
    colors: Bytes,
    weight: Floats,
) -> None: ...
def push_pull(values: Floats, out: Floats) -> None: ...
def complete(colors: Bytes, weight: Floats, nearby: float, change: Bytes, fill: Bytes) -> None: ...
def paint_eye(
    fill: Bytes,
    eye: tuple[NDArray[np.int64], Floats, Bytes, Bytes, NDArray[np.float64]],
    rule: tuple[float, float, float, tuple[float, float, float], int, float, float],
    colors: Bytes,
    weight: Floats,
    is_visible: bool,
    out: Bytes,
) -> None: ...
def skin_trust(
    ring_vertices: Indices,
    starts: Indices,
    image: Bytes,
    vertices: Floats,
    opacity: Floats,
    seen: Floats,
    rim: Floats,
    limits: tuple[float, float, float],
    counts: tuple[int, int, int],
    distances: tuple[float, float],
    spreads: NDArray[np.float64],
    logarithms: NDArray[np.float64],
    trust: Floats,
) -> None: ...
def unhidden(
    vertices: Floats,
    normals: Floats,
    part: Bytes | None,
    depth: Floats,
    nearest: Floats,
    limits: tuple[float, float, float, float, float, int],
    weight: Floats,
) -> None: ...
def outline_distance(inside: Bytes, distance: Floats) -> None: ...
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
