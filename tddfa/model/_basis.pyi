import numpy as np
from numpy.typing import NDArray

def combine(
    mean: NDArray[np.float32],
    basis: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    out: NDArray[np.float32],
    matrices: NDArray[np.float32] | None = None,
) -> None: ...
