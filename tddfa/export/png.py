"""Textures encoded as PNG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def encode_png(texture: NDArray[np.uint8]) -> bytes:
    """Encode a texture (h, w, 3), BGR.

    Raises
    ------
    ValueError
        If it is too large for the format.
    """
    done, data = cv2.imencode(".png", np.ascontiguousarray(texture))
    if not done:
        raise ValueError(f"textures: an image of shape {texture.shape} cannot be encoded as PNG")
    return data.tobytes()
