from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def crop_all(
    images: Sequence[NDArray[np.uint8]],
    image: NDArray[np.int64],
    squares: NDArray[np.float64],
    out: NDArray[np.uint8],
    flipped: bool = False,
) -> None: ...
