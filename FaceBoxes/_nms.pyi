import numpy as np
from numpy.typing import NDArray

def nms(
    xyxy: NDArray[np.float32],
    order: NDArray[np.int32],
    threshold: float,
    max_boxes: int,
    kept: NDArray[np.int32],
) -> int: ...
