import numpy as np
from numpy.typing import NDArray

def nms(
    xyxy: NDArray[np.float32],
    order: NDArray[np.int32],
    threshold: float,
    keep_at_most: int,
    kept: NDArray[np.int32],
) -> int: ...
