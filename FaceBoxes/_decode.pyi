import numpy as np
from numpy.typing import NDArray

def decode(
    priors: NDArray[np.float32],
    scores: NDArray[np.float32],
    offsets: NDArray[np.float32],
    points: NDArray[np.float32] | None,
    rotations: NDArray[np.float32] | None,
    min_score: float,
    centre_variance: float,
    size_variance: float,
    shortest: float,
    out_xyxy: NDArray[np.float32],
    out_scores: NDArray[np.float32],
    out_points: NDArray[np.float32] | None,
    out_rotations: NDArray[np.float32] | None,
) -> int: ...
