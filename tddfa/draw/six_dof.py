"""Draw heads with their 6-DoF pose: silver surface, axes, projected box and distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import covered_window, vertex_normals
from tddfa._shared.arrays import checked_image
from tddfa.draw._common import Background, Image, checked_items
from tddfa.draw.labels import Labels, Place, names_of
from tddfa.draw.surfaces import mesh as draw_mesh
from tddfa.geometry.projected_box import projected_box
from tddfa.geometry.six_dof import UNITS_PER_CM, SixDof
from tddfa.landmarks68 import NOSE_TIP
from tddfa.types import Face, Mesh

Floats = NDArray[np.float64]

# cm: arrows from the tip of the nose, as long as a face is high
_ARROW, _SHAFT_RADIUS, _HEAD_LENGTH, _HEAD_RADIUS = 11.0, 0.4, 3.2, 1.1
# Maximum length and breadth of an axis, fractions of the longer side of the projected box and of the axis; the factor
# and the number of steps by which longer axes are shortened.
_LONGEST_AXIS, _BROADEST, _SHORTENED, _MAX_SHORTENINGS = 0.55, 0.35, 0.9, 20
_AXES = ((70, 70, 235), (80, 200, 80), (245, 150, 60))  # BGR: x red, y green, z blue
_AROUND = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_RIM = (30, 24, 20)
_TINT = np.array([0.97, 0.99, 1.03], dtype=np.float32)
# Colours (BGR) of the boxes and distances of the nearest and the farthest head of an image.
_NEAR, _FAR = np.array([70.0, 215, 255]), np.array([255.0, 165, 75])
# px: smaller faces have no room for a dark rim around the lines, for a label, or for axes.
_RIMMED_FROM, _LABELLED_FROM, _AXES_FROM = 60, 26, 14
# OpenCV draws at fractions of a pixel if coordinates are scaled by a power of two.
_SIXTEENTHS = 16


def six_dof(
    image: Image,
    faces: Sequence[Face],
    meshes: Sequence[Mesh],
    poses: Sequence[SixDof | None],
    *,
    unit: str = "cm",
    assumed: bool = True,
    alpha: float = 0.85,
    background: Background = "image",
    names: Sequence[str] | None = None,
) -> Image:
    """Draw heads in silver with their axes, boxes and distances (``6dof``), the farthest first.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : sequence of Face
        The faces of the image.
    meshes : sequence of Mesh
        Their surfaces, in image px.
    poses : sequence of SixDof or None
        The pose of each face in the camera frame. A face whose pose is None is not drawn.
    unit : {"um", "mm", "cm", "m"}
        Unit of the translations. With any other unit, the axes are still as long as a face, and distances are plain
        numbers.
    assumed : bool
        Whether the intrinsics are assumed, not measured. Distances are then written as ``~62 cm``.
    alpha : float
        Opacity of the surfaces, 0..1.
    background : {"image", "black", "white"}
        The background of the surfaces.
    names : sequence of str, optional
        What each label begins with; None takes the id of the face's track, if it has one. A label that finds no room
        beside others is left out.

    Returns
    -------
    ndarray (h, w, 3) uint8
        A new image. Axes: red to the subject's left, green up, blue out of the face; drawn in perspective.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> from tddfa import draw
    >>> drawn = draw.six_dof(image, [face], [mesh], [face.six_dof()])
    >>> drawn.shape == image.shape
    True
    """
    checked_image("image", image)
    faces, meshes = checked_items("faces", faces, Face), checked_items("meshes", meshes, Mesh)
    if not len(faces) == len(meshes) == len(poses):
        got = f"{len(meshes)} meshes and {len(poses)} poses"
        raise ValueError(f"meshes, poses: expected one for each of {len(faces)} faces, got {got}")
    # drawing no mesh checks `alpha` and `background`, and returns the canvas
    out = draw_mesh(image, [], alpha=alpha, background=background)
    heads = zip(faces, meshes, poses, names_of(faces, names), strict=True)
    seen = [(face, mesh, pose, name) for face, mesh, pose, name in heads if pose is not None]
    seen.sort(key=lambda head: -head[2].distance)
    boxes, colors = [], _colors([pose.distance for _, _, pose, _ in seen])
    for (face, mesh, pose, _), color in zip(seen, colors, strict=True):
        _draw_surface(out, mesh, alpha)
        points = face.model_landmarks
        box = projected_box(pose, points, image.shape[:2])
        size = float((box[2:] - box[:2]).max())
        if size >= _AXES_FROM:
            _draw_axes(out, face, pose, points, _LONGEST_AXIS * size, rimmed=size >= _RIMMED_FROM)
        start, end = np.rint(box.reshape(2, 2) * _SIXTEENTHS).astype(int).tolist()
        width = max(1, round(size / 120))
        if size >= _RIMMED_FROM:
            cv2.rectangle(out, start, end, _RIM, width + 2, cv2.LINE_AA, 4)
        cv2.rectangle(out, start, end, color, width, cv2.LINE_AA, 4)
        boxes.append(box)
    # labels last, the nearest first: of two without room for both, that of the farther head is left out
    labels = Labels(out)
    for (_, _, pose, name), box, color in list(zip(seen, boxes, colors, strict=True))[::-1]:
        if min(box[2:] - box[:2]) >= _LABELLED_FROM:
            text = f"{name}{'~' * assumed}{format_distance(pose.distance, unit)}"
            left, top, right, bottom = box.tolist()
            scale = min(max((right - left) / 330, 0.36), 2.0)
            labels.write([text], [Place(left, top, True), Place(left, bottom, False)], scale, color)
    return out


def format_distance(distance: float, unit: str) -> str:
    """Format a distance for display; an unknown unit gives a plain number.

    Examples
    --------
    >>> format_distance(620, "mm"), format_distance(160, "cm"), format_distance(3.14159, "model")
    ('62 cm', '1.6 m', '3.142')
    """
    if unit not in UNITS_PER_CM:
        return f"{distance:.4g}"
    centimetres = distance / UNITS_PER_CM[unit]
    return f"{centimetres:.0f} cm" if centimetres < 99.5 else f"{centimetres / 100:.1f} m"


def _colors(distances: Sequence[float]) -> list[tuple[float, float, float]]:
    logs = np.log(np.maximum(distances, 1e-12)) if len(distances) else np.zeros(0)
    spread = float(np.ptp(logs)) if len(logs) else 0.0
    # heads at distances within 10 % are one group, not the two ends of a scale
    position = (logs - logs.min(initial=np.inf)) / max(spread, 0.7)
    b, g, r = (_NEAR + position[:, None] * (_FAR - _NEAR)).T.tolist() if len(logs) else ([], [], [])
    return list(zip(b, g, r, strict=True))


def _draw_surface(out: Image, mesh: Mesh, alpha: float) -> None:
    """Draw a silver surface over its part of an image."""
    # one more pixel on each side for the antialiased outline
    window = covered_window(mesh.vertices, out.shape[:2], margin=1)
    if window is None:
        return
    left, top, width, height = window
    part = out[top : top + height, left : left + width]
    moved = mesh.vertices - np.array([left, top, 0], dtype=np.float32)
    part[:] = draw_mesh(part, [replace(mesh, vertices=moved, colors=_silver(mesh))], alpha=alpha)


def _silver(mesh: Mesh) -> NDArray[np.float32]:
    """Colours (n, 3) of a polished surface that reflects a bright sky over a darker ground.

    Values above 1 come to white in `draw.mesh`, whose light dims them.
    """
    x, y, z = np.ascontiguousarray(vertex_normals(mesh.vertices, mesh.triangles).T)
    # elevation of the reflected ray, from ground to sky without an edge between them
    up = np.float32(-7) * z * y + np.float32(0.2)
    sky = up / (1 + np.abs(up))
    # the brightest part of the sky, to the upper left
    lamp = np.maximum(np.float32(0.74) * z - np.float32(0.45) * x - np.float32(0.5) * y, 0)
    lamp *= lamp
    lamp *= lamp
    lamp *= lamp
    # a lamp at the camera: without it, a face that looks down would reflect the ground only
    lamp_here = np.float32(0.4) * z * z * np.maximum(-sky, 0)
    level = np.float32(0.87) + lamp_here + np.float32(0.15) * sky + np.float32(0.55) * lamp * lamp * lamp
    return level[:, None] * _TINT


def _draw_axes(out: Image, face: Face, pose: SixDof, points: Floats, longest: float, *, rimmed: bool) -> None:
    origin = points[NOSE_TIP]
    # model units per cm, if a face is 14 cm high
    unit = float(np.ptp(points[:, 1])) / 14
    # near the camera, perspective would make the axes so large that they hide the face: they are shortened
    necks = np.eye(3) * (_ARROW - _HEAD_LENGTH)
    rims = np.roll(np.eye(3), 1, axis=1) * _HEAD_RADIUS
    corners = np.vstack([np.zeros((1, 3)), np.eye(3) * _ARROW, necks - rims, necks + rims])
    for _ in range(_MAX_SHORTENINGS):
        placed = origin + corners * unit
        before_lens = (placed @ pose.rotation.T + pose.translation)[:, 2].min() > 0
        seen = pose.project(placed)
        length = np.linalg.norm(seen[1:4] - seen[0], axis=1).max()
        breadth = np.linalg.norm(seen[7:] - seen[4:7], axis=1).max()
        if before_lens and max(length, breadth / _BROADEST) <= longest:
            break
        unit *= _SHORTENED
    # the surface is drawn in weak perspective; the axes are shifted onto its tip of the nose
    shift = face.landmarks[NOSE_TIP, :2] - pose.project(origin[None])[0]
    away = pose.rotation[2]
    # the axis that points most towards the viewer is drawn last
    for axis in np.argsort(-away):
        along = np.eye(3)[axis]
        across = np.eye(3)[[axis - 2, axis - 1]]
        ring = np.cos(_AROUND)[:, None] * across[0] + np.sin(_AROUND)[:, None] * across[1]
        neck = origin + along * (_ARROW - _HEAD_LENGTH) * unit
        rings = (origin + ring * _SHAFT_RADIUS * unit, neck + ring * _SHAFT_RADIUS * unit)
        shaft = _outline(pose, np.concatenate(rings), shift)
        cone = _outline(
            pose, np.concatenate([neck + ring * _HEAD_RADIUS * unit, (origin + along * _ARROW * unit)[None]]), shift
        )
        if shaft is None or cone is None:
            continue  # part of it is behind the camera
        color = _AXES[axis]
        light = tuple(min(255, round(1.12 * c + 18)) for c in color)
        parts = [(shaft, color), (cone, light)]
        for part, fill in parts if away[axis] < 0 else parts[::-1]:
            if rimmed:
                cv2.polylines(out, [part], True, _RIM, 2, cv2.LINE_AA, 4)
            cv2.fillConvexPoly(out, part, fill, cv2.LINE_AA, 4)


def _outline(pose: SixDof, points: Floats, shift: NDArray[np.float32]) -> NDArray[np.int32] | None:
    """Outline of a convex body given by its corners, in 1/16 px; None if part of it is behind the camera."""
    drawn = pose.project(points) + shift
    if not np.isfinite(drawn).all() or np.abs(drawn).max() > 1e6:
        return None
    return np.asarray(cv2.convexHull(np.rint(drawn * _SIXTEENTHS).astype(np.int32)))
