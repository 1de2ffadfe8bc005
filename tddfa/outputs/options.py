"""`Options`: the settings of the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tddfa.draw import Background, Style
from tddfa.geometry.intrinsics import Intrinsics

PoseStyle = Literal["box", "axes"]
RawDepth = Literal["png", "npy"]
Space = Literal["image", "head"]

_WORDS = {
    "background": Background, "style": Style, "pose_style": PoseStyle, "raw_depth": RawDepth, "space": Space,
}  # fmt: skip
_WITH_ALPHA = (".png", ".webp")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the outputs. `Kind.options` lists the settings that affect a kind.

    Attributes
    ----------
    suffix : str
        Format of the images: ".jpg", ".png" or another that OpenCV writes.
    background : {"image", "black", "white"}
        What a surface is drawn over.
    transparent : bool
        Draw the kinds that have a background over none, as BGRA images. The `suffix` has to be ".png" or ".webp".
    alpha : float or None
        Opacity of a drawn surface, 0..1. None takes 0.6 for 3d (1 over black), and 0.85 for 6dof.
    style : {"paper", "classic"}
        How the surface of 3d is drawn (`tddfa.draw.mesh`).
    ears : bool
        Draw the ears of surfaces.
    pose_style : {"box", "axes"}
        How the pose is drawn.
    uv_size : int
        Side of the UV texture, px.
    uv_mask : bool
        Also write which pixels of the texture were visible, mirrored or filled.
    raw_depth : {"png", "npy"} or None
        Also write depth as numbers: a 16-bit PNG (`DEPTH_STEPS_PER_PX` steps per px from the farthest point, plus 1;
        0 where there is no face) or float32 px (NaN where there is no face).
    ascii : bool
        Write .ply as text.
    vertex_colors : bool
        Give the vertices of meshes the colours of the image; in .glb in place of the texture.
    space : {"image", "head"} or None
        Where meshes lie: as in the image, or upright at the head's centre, in cm, with several heads beside each
        other. None is "head" for .glb, whose unit is metres, and "image" for the others.
    kind_in_mesh_names : bool
        Name meshes as 3DDFA_V2 does: ``me_obj.obj`` instead of ``me.obj``.
    intrinsics : Intrinsics or None
        The camera, for 6dof and the JSON. None assumes the one of img2pose (`Intrinsics.assumed`).

    Examples
    --------
    >>> from tddfa.outputs import Options
    >>> Options(background="black").uv_size
    512
    """

    suffix: str = ".jpg"
    background: Background = "image"
    transparent: bool = False
    alpha: float | None = None
    style: Style = "paper"
    ears: bool = True
    pose_style: PoseStyle = "box"
    uv_size: int = 512
    uv_mask: bool = False
    raw_depth: RawDepth | None = None
    ascii: bool = False
    vertex_colors: bool = False
    space: Space | None = None
    kind_in_mesh_names: bool = False
    intrinsics: Intrinsics | None = None

    def __post_init__(self) -> None:
        """Check the words."""
        for name, kind in _WORDS.items():
            value, known = getattr(self, name), get_args(kind)
            if value not in known and not (value is None and name in ("raw_depth", "space")):
                raise ValueError(f"{name}: expected {' or '.join(map(repr, known))}, got {value!r}")
        if self.transparent and self.suffix.lower() not in _WITH_ALPHA:
            raise ValueError(f"suffix: expected {' or '.join(_WITH_ALPHA)} with transparent, got {self.suffix}")
