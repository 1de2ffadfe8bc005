import numpy as np
from numpy.typing import NDArray

def draw_lines(
    image: NDArray[np.uint8], ends: NDArray[np.float64], radius: float, color: tuple[int, int, int]
) -> None: ...
