"""Files of a face on a scan: numbers, points for MeshLab, images, coloured meshes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tddfa.export.glb import encode_surface
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.landmarks68 import PARTS, contours
from tddfa.scan.face import FittedFace, ScanFace
from tddfa.scan.mesh import Scan
from tddfa.scan.views import drawable, simplified, view
from tddfa.types import Mesh

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

# Side of an image and of the face's height in it, px; from where it is taken (yaw of the head, degrees).
_SIZE, _HEIGHT, _YAWS = 640, 330.0, (0.0, 60.0, -60.0)
_MANY_TRIANGLES, _CELLS = 400_000, 500
# A landmark this far behind the surface is drawn hollow, px.
_HIDDEN = 12.0
_GREEN, _RED = (60, 230, 60), (50, 50, 255)
# Points of the network around a vertex whose heat it gets, and how far away they may be, mm.
_AROUND, _REACH = 4, 12.0
# A face is far from the origin if its distance is more than half this many times its size.
_FAR = 100.0
# Distance at the ends of the colours of a distance map, mm.
_MOST_MM = 3.0


def json_bytes(name: str, face: ScanFace) -> bytes:
    """The record of a face, with the name of its file."""
    return (json.dumps({"file": name, **face.to_dict()}, indent=1, allow_nan=False) + "\n").encode()


def npz_bytes(face: ScanFace, fitted: FittedFace | None = None) -> bytes:
    """Arrays of a face: landmarks, all decodings, heat; and those of the fitted model."""
    arrays: dict[str, NDArray[np.generic]] = {
        "landmarks": face.landmarks,
        "confidence": face.confidence,
        "on_surface": face.on_surface,
        "points": face.points,
        "heat": face.heat.astype(np.float16),
        "rotation": face.similarity.rotation,
        "per_mm": np.array(face.similarity.scale),
        "origin": face.similarity.shift,
        **face.decoded,
    }
    if fitted is not None:
        arrays |= {
            "fit_vertices": fitted.vertices,
            "fit_triangles": fitted.triangles,
            "fit_shape": fitted.shape,
            "fit_expression": fitted.expression,
            "fit_distances": fitted.distances,
            "fit_landmarks": fitted.landmarks,
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # NumPy's stub has its switch as a keyword
    return buffer.getvalue()


def csv_bytes(face: ScanFace) -> bytes:
    """A table with a row for each landmark."""
    names = {k: name for name, rows in PARTS.items() for k in range(68)[rows]}
    lines = ["landmark,part,x,y,z,confidence,on_surface"]
    for k, (point, confidence, there) in enumerate(
        zip(face.landmarks.tolist(), face.confidence.tolist(), face.on_surface.tolist(), strict=True)
    ):
        lines.append(f"{k},{names[k]},{','.join(f'{value:.15g}' for value in point)},{confidence:.4f},{int(there)}")
    return ("\n".join(lines) + "\n").encode()


def pp_bytes(name: str, face: ScanFace) -> bytes:
    """Points that MeshLab's PickPoints tool opens."""
    points = "\n".join(
        f' <point x="{x:.15g}" y="{y:.15g}" z="{z:.15g}" active="{int(there)}" name="{k}"/>'
        for k, ((x, y, z), there) in enumerate(zip(face.landmarks.tolist(), face.on_surface.tolist(), strict=True))
    )
    entities = {'"': "&quot;"}
    return (
        "<!DOCTYPE PickedPoints>\n<PickedPoints>\n <DocumentData>\n"
        f'  <DataFileName name="{escape(name, entities)}"/>\n  <templateName name=""/>\n </DocumentData>\n'
        f"{points}\n</PickedPoints>\n"
    ).encode("utf-8", "replace")


def drawn(scan: Scan, face: ScanFace) -> Image:
    """The face from three sides (front, both half profiles) with its landmarks; hollow where the surface hides them.

    Landmarks with little confidence are red.
    """
    mesh = drawable(scan)
    if len(mesh.triangles) > _MANY_TRIANGLES:
        mesh = simplified(mesh, _CELLS)
    panels = []
    scale = _HEIGHT / (140.0 * face.similarity.scale)
    for yaw in _YAWS:
        rotation = rotation_from_euler(yaw, 0, 0) @ face.similarity.rotation.T
        seen = view(mesh, rotation, face.landmarks.mean(axis=0), scale, _SIZE)
        image = np.ascontiguousarray(seen.image)
        placed = seen.pixels(face.landmarks)
        for line in contours(placed[:, :2]).values():
            cv2.polylines(image, [np.rint(8 * line).astype(np.int32)], False, (200, 200, 90), 1, cv2.LINE_AA, 3)
        at = np.rint(placed[:, :2]).astype(np.intp).clip(0, _SIZE - 1)
        hidden = seen.raster.depth[at[:, 1], at[:, 0]] - placed[:, 2] > _HIDDEN
        for point, sure, behind in zip(placed, face.confidence, hidden, strict=True):
            centre = (round(8 * float(point[0])), round(8 * float(point[1])))
            color = tuple(float(c) for c in (1 - sure) * np.array(_RED) + sure * np.array(_GREEN))
            cv2.circle(image, centre, 24, color, 1 if behind else -1, cv2.LINE_AA, 3)
        panels.append(image)
    return np.hstack(panels)


def heat_on(scan: Scan, face: ScanFace, landmark: int) -> NDArray[np.float32]:
    """Heat (n,) of a landmark at the vertices of a scan, from the points around them."""
    count = min(_AROUND, len(face.points))
    if not count:
        return np.zeros(len(scan.vertices), np.float32)
    away, at = cKDTree(face.points).query(scan.vertices, k=count, distance_upper_bound=_REACH * face.similarity.scale)
    away, at = away.reshape(-1, count), at.reshape(-1, count)
    weights = np.where(np.isfinite(away), 1 / np.maximum(away, 1e-9), 0.0)
    values = np.concatenate([face.heat[:, landmark], [0.0]])[at]
    return np.asarray((weights * values).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9), dtype=np.float32)


def _colored(values: Floats) -> NDArray[np.uint8]:
    """Values 0..1 to RGB from blue to red; grey where they are NaN."""
    grey = np.rint(255 * np.nan_to_num(values).clip(0, 1)).astype(np.uint8)
    rgb = cv2.applyColorMap(grey[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    return np.ascontiguousarray(np.where(np.isfinite(values)[:, None], rgb, np.uint8(128)))


def heat_ply(scan: Scan, face: ScanFace, landmark: int) -> bytes:
    """The scan in the colours of a landmark's heat: blue is cold, red is hot."""
    return _ply(scan.vertices, scan.triangles, _colored(heat_on(scan, face, landmark).astype(np.float64)))


def distance_ply(fitted: FittedFace) -> bytes:
    """The fitted face in the colours of its distance to the scan: blue -3 mm, green 0, red 3 mm, grey unknown."""
    return _ply(fitted.vertices, fitted.triangles, _colored(0.5 + fitted.distances / (2 * _MOST_MM)))


def _ply(vertices: Floats, triangles: NDArray[np.int32], rgb: NDArray[np.uint8]) -> bytes:
    """A binary mesh or cloud with colours; double precision, because a scan may lie far from the origin."""
    points = np.zeros(len(vertices), dtype=[("place", "<f8", 3), ("rgb", "u1", 3)])
    points["place"], points["rgb"] = vertices, rgb
    faces = np.zeros(len(triangles), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property double {axis}" for axis in "xyz"),
        *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode() + points.tobytes() + faces.tobytes()


def fit_glb(fitted: FittedFace) -> bytes:
    """The fitted face with the colours of the scan; in the unit and the frame of the scan."""
    low, high = fitted.vertices.min(axis=0), fitted.vertices.max(axis=0)
    far = np.abs(low + high).max() > _FAR * (high - low).max()
    place = (low + high) / 2 if far else np.zeros(3)
    colors = None if fitted.colors is None else fitted.colors.astype(np.float32)
    return encode_surface("face", Mesh(fitted.vertices - place, fitted.triangles, colors=colors), place)


def distance_text(fitted: FittedFace) -> str:
    """A line: how far the fitted face is from the scan."""
    known = np.abs(fitted.distances[np.isfinite(fitted.distances)])
    if not len(known):
        return "fitted face: no part of it is near the scan"
    middle, most = np.percentile(known, (50, 90))
    return f"fitted face: {middle:.2f} mm from the scan (median), {most:.2f} mm (90 %)"


KINDS: dict[str, Callable[[str, ScanFace], bytes]] = {
    "json": json_bytes,
    "npz": lambda _, face: npz_bytes(face),
    "csv": lambda _, face: csv_bytes(face),
    "pp": pp_bytes,
}
"""Files of numbers, by their suffix."""
