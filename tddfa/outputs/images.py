"""How kinds of images are drawn and summarised, and the files beside them are written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from tddfa import draw
from tddfa._shared import image_io
from tddfa._shared.files import write_atomic
from tddfa.crop import crop_image
from tddfa.draw.labels import rounded
from tddfa.draw.six_dof import format_distance, six_dof
from tddfa.geometry.rotation import Euler
from tddfa.jvcr.regressor import JvcrRegressor
from tddfa.outputs.kinds import NO_VOLUMES
from tddfa.outputs.prepared import Image, Prepared

DEPTH_STEPS_PER_PX = 16
"""Resolution of depth in a 16-bit PNG: steps of 1/16 px; 0 marks pixels without a face."""

_ALPHA_6DOF = 0.85


def save_depth(outputs: Prepared, path: Path) -> None:
    """Write depth as numbers: float32 px to .npy, 16-bit steps to .png."""
    depth = draw.depth_px(outputs.image, outputs.drawn_meshes)
    if path.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, depth, allow_pickle=False)
        write_atomic(path, buffer.getvalue())
        return
    steps = (depth - np.nanmin(depth)) * DEPTH_STEPS_PER_PX + 1 if np.isfinite(depth).any() else depth
    most = np.nanmax(steps, initial=0)
    if most > 65535:
        deep, limit = most / DEPTH_STEPS_PER_PX, 65535 // DEPTH_STEPS_PER_PX
        raise ValueError(f"{path}: expected a depth of at most {limit} px, got {deep:.0f}; --raw npy holds any")
    levels = np.where(np.isfinite(depth), np.clip(np.rint(steps), 1, 65535), 0).astype(np.uint16)
    image_io.write(path, levels)


def save_masks(outputs: Prepared, path: Path) -> None:
    """Write which texels of the textures were visible, mirrored or filled."""
    image_io.write(path, np.hstack([texture.mask for texture in outputs.textures]))


def draw_6dof(outputs: Prepared) -> Image:
    """Draw surface, axes, projected box and distance of the heads, before a perspective camera."""
    return six_dof(
        outputs.image,
        outputs.faces,
        outputs.meshes,
        outputs.poses,
        unit=outputs.aligner.face_model.unit,
        assumed=outputs.options.intrinsics is None,
        alpha=_ALPHA_6DOF if outputs.options.alpha is None else outputs.options.alpha,
        background=outputs.options.background,
        names=outputs.names,
    )


def draw_volumes(outputs: Prepared) -> Image:
    """Draw JVCR's volumes of each face, one below the other."""
    regressor, rule = outputs.aligner.regressor, outputs.aligner.crop
    if not isinstance(regressor, JvcrRegressor):
        raise ValueError(f"-o volume: {NO_VOLUMES}")
    sheets = []
    for face in outputs.faces:
        crop = np.empty((1, rule.size, rule.size, 3), dtype=np.uint8)
        crop_image(outputs.image, face.roi, crop[0], rounded=rule.rounded)
        volumes, points = regressor.volumes(crop)
        sheets.append(draw.volumes(crop[0], [volume[0] for volume in volumes], points[0]))
    if not sheets:
        raise ValueError("faces: expected at least one, got none")
    return np.vstack(sheets)


def draw_boxes(outputs: Prepared) -> Image:
    """Draw boxes, names, scores and five points."""
    labels = [
        f"{name}:  {face.score:.2f}" if name else f"{face.score:.2f}"
        for face, name in zip(outputs.faces, outputs.names, strict=True)
    ]
    return draw.boxes(outputs.image, outputs.detections, labels=labels)


def summarise_boxes(outputs: Prepared) -> list[str]:
    """Give the corners of each box in px, and its score."""
    return [
        f"{' '.join(f'{edge:.0f}' for edge in box)}, score {score:.2f}"
        for box, score in zip(outputs.detections.xyxy, outputs.detections.scores, strict=True)
    ]


def _angles_text(euler: Euler) -> str:
    yaw, pitch, roll = (rounded(angle, 1) for angle in euler)
    return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f}"


def summarise_pose(outputs: Prepared) -> list[str]:
    """Give the angles of each head."""
    return [_angles_text(face.camera.euler_degrees()) for face in outputs.faces]


def summarise_6dof(outputs: Prepared) -> list[str]:
    """Give the distance and the angles of each head before the camera."""
    about = "~" if outputs.options.intrinsics is None else ""
    unit = outputs.aligner.face_model.unit
    return [
        "no pose in front of this camera fits the face"
        if pose is None
        else f"{about}{format_distance(pose.distance, unit)}, {_angles_text(pose.euler_degrees())}"
        for pose in outputs.poses
    ]
