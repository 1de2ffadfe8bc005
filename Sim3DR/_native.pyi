import numpy as np
from numpy.typing import NDArray

def rasterize(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    left: int,
    top: int,
    cull: int,
    depth: NDArray[np.float32],
    triangle_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
) -> None: ...
def interpolate(
    triangle_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    attributes: NDArray[np.float32],
    background: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None: ...
def vertex_normals(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    normals: NDArray[np.float32],
) -> None: ...
