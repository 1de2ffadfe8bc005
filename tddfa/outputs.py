"""What can be made of the faces of one picture, by kind: the nine of 3DDFA_V2, 6dof, and glb."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tddfa import draw, export
from tddfa._shared import image_io
from tddfa._shared.files import write_atomic
from tddfa.aligner import Aligner
from tddfa.draw import six_dof as draw_6dof
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.projected_box import projected_box
from tddfa.geometry.rotation import Euler, quaternion_from_rotation
from tddfa.geometry.six_dof import SixDof
from tddfa.kinds import KINDS, MESHES
from tddfa.surface.texture import Texture, unwrap, vertex_colors
from tddfa.types import Face, Mesh

__all__ = ["DEPTH_STEPS_PER_PX", "KINDS", "MESHES", "PICTURES", "Options", "Outputs", "describe"]

# Depth in a 16-bit PNG: steps of 1/16 px, 0 where no face is.
DEPTH_STEPS_PER_PX = 16

_EULER_ORDER = "Ry(yaw) @ Rx(-pitch) @ Rz(-roll), degrees"
# What a file of numbers says beside them, so that nobody has to guess.
_VIEW_ORDER = f"rotation = {_EULER_ORDER}"
_CAMERA_ORDER = f"rotation = diag(1, -1, -1) @ {_EULER_ORDER}"


@dataclass(frozen=True)
class Options:
    """How the outputs look.

    Attributes
    ----------
    suffix : str
        Of the pictures: ".jpg", ".png" or another that OpenCV writes.
    background : {"image", "black"}
        What 3d, depth, pncc and 6dof lie on.
    alpha : float
        Opacity of 3d and 6dof, 0..1.
    pose_style : {"box", "axes"}
        How the pose is drawn.
    uv_size : int
        Side of the UV texture, px.
    uv_mask : bool
        Write the texture's mask too.
    raw_depth : {"png", "npy"} or None
        Write the depth in numbers too: a 16-bit PNG (`DEPTH_STEPS_PER_PX` steps a px from the farthest point, plus 1;
        0 where no face is) or float32 px (NaN where no face is).
    ascii : bool
        Text in place of binary, in .ply.
    vertex_colors : bool
        Colours of the picture on the vertices, in .ply, .obj and .glb.
    intrinsics : Intrinsics or None
        The camera, for 6dof and the JSON; None takes what img2pose does (`Intrinsics.assumed`).
    """

    suffix: str = ".jpg"
    background: Literal["image", "black"] = "image"
    alpha: float = 0.85
    pose_style: Literal["box", "axes"] = "box"
    uv_size: int = 512
    uv_mask: bool = False
    raw_depth: Literal["png", "npy"] | None = None
    ascii: bool = False
    vertex_colors: bool = False
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True)
class Outputs:
    """The faces of one picture, ready to be drawn and saved; what several kinds need is computed once."""

    image: NDArray[np.uint8]
    faces: Sequence[Face]
    aligner: Aligner
    options: Options = field(default_factory=Options)

    @cached_property
    def meshes(self) -> list[Mesh]:
        """A dense mesh for each face."""
        return [self.aligner.mesh(face) for face in self.faces]

    @cached_property
    def textures(self) -> list[Texture]:
        """A UV texture for each face."""
        return [unwrap(self.image, mesh, self.options.uv_size) for mesh in self.meshes]

    @cached_property
    def poses(self) -> list[SixDof | None]:
        """Where each head is before the camera; None where the camera can show none so."""
        return [_pose(face, self.aligner, self._intrinsics) for face in self.faces]

    @property
    def _intrinsics(self) -> Intrinsics:
        return self.options.intrinsics or Intrinsics.assumed(self.image.shape[:2])

    def picture(self, kind: str) -> NDArray[np.uint8]:
        """Draw a kind of `PICTURES`."""
        return PICTURES[kind](self)

    def save(self, kind: str, stem: Path) -> list[Path]:
        """Write a kind under ``<stem>_<kind>`` and its suffix; return the files, the main one first."""
        base = stem.with_name(f"{stem.name}_{kind}")
        if kind in MESHES:
            return self._save_mesh(kind, base.with_name(f"{base.name}.{kind}"))
        paths = [image_io.write(base.with_name(base.name + self.options.suffix), self.picture(kind))]
        if kind == "depth" and self.options.raw_depth is not None:
            paths.append(self._save_raw_depth(base))
        if kind == "uv_tex" and self.options.uv_mask:
            masks = np.hstack([texture.mask for texture in self.textures])
            paths.append(image_io.write(base.with_name(f"{base.name}_mask.png"), masks))
        return paths

    def _save_mesh(self, kind: str, path: Path) -> list[Path]:
        meshes = self.meshes
        if self.options.vertex_colors:
            colors = [vertex_colors(self.image, *pair) for pair in zip(meshes, self.textures, strict=True)]
            meshes = [replace(mesh, colors=color) for mesh, color in zip(meshes, colors, strict=True)]
        options: dict[str, Any] = {}
        if kind == "ply":
            options["ascii"] = self.options.ascii
        else:
            options["textures"] = [texture.image for texture in self.textures]
        if kind == "obj":
            options["vertex_colors"] = self.options.vertex_colors
        return export.save(path, meshes, image_height=self.image.shape[0], **options)

    def _save_raw_depth(self, base: Path) -> Path:
        depth = draw.depth_px(self.image, self.meshes)
        if self.options.raw_depth == "npy":
            return write_atomic(base.with_name(f"{base.name}.npy"), _npy(depth))
        steps = (depth - np.nanmin(depth)) * DEPTH_STEPS_PER_PX + 1 if np.isfinite(depth).any() else depth
        levels = np.where(np.isfinite(depth), np.clip(np.rint(steps), 1, 65535), 0).astype(np.uint16)
        return image_io.write(base.with_name(f"{base.name}_raw.png"), levels)

    def save_json(self, stem: Path, name: str) -> Path:
        """Write everything that is known of the faces under ``<stem>.json``; `name` is the picture's."""
        height, width = self.image.shape[:2]
        content = {
            "image": name,
            "width": width,
            "height": height,
            "faces": [
                {**_described(face, self.aligner), **self._dense(face, pose)}
                for face, pose in zip(self.faces, self.poses, strict=True)
            ],
        }
        text = json.dumps(content, indent=1, allow_nan=False)
        return write_atomic(stem.with_name(f"{stem.name}.json"), text.encode())

    def _dense(self, face: Face, pose: SixDof | None) -> dict[str, Any]:
        return _dense(face, self.aligner, pose, assumed=self.options.intrinsics is None)


def describe(
    face: Face, aligner: Aligner, intrinsics: Intrinsics | None = None, *, dense: bool = True
) -> dict[str, Any]:
    """All of a face in plain numbers; px of the image, degrees, and cm (the model's unit where it is no length).

    Parameters
    ----------
    face : Face
        Of this aligner.
    aligner : Aligner
        Knows what its coefficients mean.
    intrinsics : Intrinsics, optional
        The camera, for ``six_dof``; None takes img2pose's for the size of the face's picture.
    dense : bool
        Tell what takes the dense surface too: ``visible`` and ``six_dof``, about 6 ms. Else they are null, but for
        what the face knows already.
    """
    told = _described(face, aligner)
    if not dense:
        return {**told, "visible": None if face.visible is None else face.visible.tolist(), "six_dof": None}
    if intrinsics is None and face.image_size is None:
        return {**told, **_dense(face, aligner, None, assumed=True)}
    camera = intrinsics or Intrinsics.assumed(face.image_size or (0, 0))
    return {**told, **_dense(face, aligner, _pose(face, aligner, camera), assumed=intrinsics is None)}


def _described(face: Face, aligner: Aligner) -> dict[str, Any]:
    rotation = face.camera.rotation
    return {
        "box": _numbers(face.box, 2),
        "score": round(face.score, 5),
        "roi": {
            "left": round(face.roi.left, 3),
            "top": round(face.roi.top, 3),
            "side": round(face.roi.side, 3),
        },
        "pose": _angles(face.camera.euler_degrees()),
        "pose_order": _VIEW_ORDER,
        "rotation": _numbers(rotation, 6),
        "quaternion": _quaternion(rotation),
        "camera": _numbers(face.camera.matrix, 5),
        "scale": round(face.camera.scale, 5),
        "landmarks": _numbers(face.landmarks, 3),
        "convention": aligner.face_model.convention,
        "shape": _numbers(face.params.shape, 5),
        "expression": {name: round(weight, 4) for name, weight in aligner.expression(face).items()},
        "track_id": face.track_id,
    }


def _dense(face: Face, aligner: Aligner, pose: SixDof | None, *, assumed: bool) -> dict[str, Any]:
    visible = aligner.visible(face) if face.visible is None else face.visible
    said: dict[str, Any] = {"visible": visible.tolist(), "six_dof": None}
    if pose is None:
        return said
    size = face.image_size
    unit = aligner.face_model.unit
    units_a_cm = draw_6dof.UNITS_A_CM.get(unit)
    scale = 1.0 if units_a_cm is None else 1 / units_a_cm
    said["six_dof"] = {
        "rotation": _numbers(pose.rotation, 6),
        "rotation_vector": _numbers(pose.rotation_vector, 6),
        "img2pose_vector": _numbers(pose.img2pose_vector, 6),
        "quaternion": _quaternion(pose.rotation),
        "euler": {**_angles(pose.euler_degrees()), "order": _CAMERA_ORDER},
        "translation": _numbers(pose.translation * scale, 4),
        "distance": round(pose.distance * scale, 4),
        "unit": unit if units_a_cm is None else "cm",
        "box": None if size is None else _numbers(projected_box(pose, face.model_landmarks, size), 2),
        "intrinsics": {
            "matrix": _numbers(pose.intrinsics.matrix, 4),
            "distortion": pose.intrinsics.distortion.tolist(),
            "assumed": assumed,
        },
        "reprojection_error_px": round(pose.error, 4),
    }
    return said


def _pose(face: Face, aligner: Aligner, intrinsics: Intrinsics) -> SixDof | None:
    try:
        return aligner.six_dof(face, intrinsics)
    except ValueError:
        # no place before this camera looks so: a face of a very wide lens, nearer than its own size
        return None


def _numbers(array: NDArray[np.floating[Any]], decimals: int) -> Any:
    return np.round(np.asarray(array, dtype=np.float64), decimals).tolist()


def _angles(euler: Euler) -> dict[str, float]:
    return {name: round(angle, 3) for name, angle in euler._asdict().items()}


def _quaternion(rotation: NDArray[np.float64]) -> dict[str, Any]:
    return {"order": "wxyz", "values": _numbers(quaternion_from_rotation(rotation), 6)}


def _npy(array: NDArray[np.float32]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


PICTURES: dict[str, Callable[[Outputs], NDArray[np.uint8]]] = {
    "2d_sparse": lambda o: draw.landmarks(o.image, o.faces),
    "2d_dense": lambda o: draw.points(o.image, o.meshes),
    "3d": lambda o: draw.mesh(o.image, o.meshes, alpha=o.options.alpha, background=o.options.background),
    "depth": lambda o: draw.depth(o.image, o.meshes, background=o.options.background),
    "pncc": lambda o: draw.pncc(
        o.image, o.meshes, o.aligner.face_model.normalized_coordinates, background=o.options.background
    ),
    "pose": lambda o: draw.pose(o.image, o.faces, style=o.options.pose_style),
    "uv_tex": lambda o: draw.textures(o.textures),
    "6dof": lambda o: draw_6dof.six_dof(
        o.image,
        o.faces,
        o.meshes,
        o.poses,
        unit=o.aligner.face_model.unit,
        assumed=o.options.intrinsics is None,
        alpha=o.options.alpha,
        background=o.options.background,
    ),
}
"""Kinds that are pictures, and who draws them."""
