import numpy as np
from numpy.typing import NDArray

def format_rows(prefix: bytes, rows: NDArray[np.float32], decimals: tuple[int, ...]) -> bytes: ...
def format_faces(
    prefix: bytes, triangles: NDArray[np.int32], offset: int = 0, uv_offset: int | None = None
) -> bytes: ...
