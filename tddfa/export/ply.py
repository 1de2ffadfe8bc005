"""PLY: vertices with normals, triangles and colours of all faces, in one binary or ascii file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa.export import _text
from tddfa.export.frame import AXES, to_file_frame, unit_normals
from tddfa.types import Mesh

# indices are `int` in the file
_MAX_VERTICES = 2**31


def _header(encoding: str, vertex_count: int, face_count: int, colored: bool, unit: str) -> bytes:
    lines = [
        "ply",
        f"format {encoding} 1.0",
        f"comment {unit}: {AXES}",
        f"element vertex {vertex_count}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
    ]
    if colored:
        lines += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    lines += [f"element face {face_count}", "property list uchar int vertex_indices", "end_header"]
    # the format is ASCII, but readers skip comments
    return ("\n".join(lines) + "\n").encode("utf-8")


def _color_bytes(colors: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    assert colors is not None
    return np.rint(np.clip(colors, 0, 1) * 255).astype(np.uint8)


def encode_ply(
    name: str,
    meshes: list[Mesh],
    textures: list[NDArray[np.uint8]] | None,
    image_height: float,
    *,
    ascii: bool = False,
    unit: str = "px",
) -> dict[str, bytes]:
    """Merge all meshes into one PLY file.

    Parameters
    ----------
    name : str
        File name.
    meshes : list of Mesh
        Image px. Colours are written as bytes if every mesh has them, clipped to 0..1.
    textures : None
        PLY has no textures.
    image_height : float
        px; the files' y is ``image_height - y``.
    ascii : bool
        Text with 3 decimals, 4 of normals, instead of little-endian binary.
    unit : str
        Unit of the vertices, written in a comment.

    Returns
    -------
    dict of str to bytes
        The one file.

    Raises
    ------
    ValueError
        If there are textures, or more vertices than 32-bit indices can address.
    """
    if textures is not None:
        raise ValueError("textures: expected none, because .ply has no textures; use .obj or .glb")
    colored = bool(meshes) and all(mesh.colors is not None for mesh in meshes)
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes]).tolist()
    vertex_count, face_count = starts[-1], sum(len(mesh.triangles) for mesh in meshes)
    if vertex_count > _MAX_VERTICES:
        raise ValueError(f"meshes: expected at most {_MAX_VERTICES} vertices in all, got {vertex_count}")
    header = _header("ascii" if ascii else "binary_little_endian", vertex_count, face_count, colored, unit)
    parts = [header]

    if ascii:
        for mesh in meshes:
            vertices = to_file_frame(mesh.vertices, image_height)
            rows = np.hstack([vertices, unit_normals(vertices, mesh.triangles)])
            if colored:
                rows = np.hstack([rows, _color_bytes(mesh.colors).astype(np.float32)])
            parts.append(_text.format_rows(b"", rows, (3, 3, 3, 4, 4, 4, 0, 0, 0) if colored else (3, 3, 3, 4, 4, 4)))
        for mesh, start in zip(meshes, starts, strict=False):
            parts.append(_text.format_faces(b"3 ", mesh.triangles, start))
        return {name: b"".join(parts)}

    vertex_fields: list[Any] = [("position", "<f4", 3), ("normal", "<f4", 3)]
    vertex_fields += [("color", "u1", 3)] if colored else []
    for mesh in meshes:
        fields = np.empty(len(mesh.vertices), vertex_fields)
        positions = to_file_frame(mesh.vertices, image_height)
        fields["position"] = positions
        fields["normal"] = unit_normals(positions, mesh.triangles)
        if colored:
            fields["color"] = _color_bytes(mesh.colors)
        parts.append(fields.tobytes())
    for mesh, start in zip(meshes, starts, strict=False):
        faces = np.empty(len(mesh.triangles), [("count", "u1"), ("indices", "<i4", 3)])
        faces["count"] = 3
        np.add(mesh.triangles, np.int32(start), out=faces["indices"])
        parts.append(faces.tobytes())
    return {name: b"".join(parts)}
