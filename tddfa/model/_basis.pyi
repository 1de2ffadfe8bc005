import numpy as np
from numpy.typing import NDArray

def reads_halves() -> bool: ...
def combine(
    mean: NDArray[np.float32],
    basis: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    out: NDArray[np.float32],
    matrices: NDArray[np.float32] | None = None,
) -> None: ...
def combine_halves(
    mean: NDArray[np.float32],
    basis: NDArray[np.uint16],
    coefficients: NDArray[np.float32],
    out: NDArray[np.float32],
    matrices: NDArray[np.float32] | None = None,
) -> None: ...
