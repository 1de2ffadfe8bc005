"""Draw faces over their image. Every function returns a new image; none changes its arguments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tddfa.draw._common import Background as Background
from tddfa.draw._common import Image as Image
from tddfa.draw.dense import points as points
from tddfa.draw.detections import boxes as boxes
from tddfa.draw.head_pose import pose as pose
from tddfa.draw.six_dof import six_dof as six_dof
from tddfa.draw.sparse import landmarks as landmarks
from tddfa.draw.surfaces import DepthStyle as DepthStyle
from tddfa.draw.surfaces import Style as Style
from tddfa.draw.surfaces import depth as depth
from tddfa.draw.surfaces import depth_px as depth_px
from tddfa.draw.surfaces import mesh as mesh
from tddfa.draw.surfaces import pncc as pncc
from tddfa.draw.volumes import volumes as volumes
from tddfa.surface.texture import Texture


def textures(textures: Sequence[Texture]) -> Image:
    """Join UV textures of one size side by side (``uv_tex``).

    Examples
    --------
    >>> from tddfa.surface.texture import unwrap
    >>> texture = unwrap(image, mesh, size=64)
    >>> textures([texture, texture]).shape
    (64, 128, 3)
    """
    if not textures:
        raise ValueError("textures: expected at least one, got none")
    return np.hstack([texture.image for texture in textures])
