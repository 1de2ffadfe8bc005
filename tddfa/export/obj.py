"""Wavefront OBJ: text, one object per face; with textures, also .mtl and PNG files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa.export import _text
from tddfa.export.frame import AXES, to_file_frame
from tddfa.export.png import encode_png
from tddfa.types import Mesh

_POSITION_DECIMALS = (3, 3, 3)
_COLOR_DECIMALS = (4, 4, 4)
_UV_DECIMALS = (5, 5)


def side_stem(stem: str) -> str:
    """Beginning of the names of the files beside an OBJ of this stem.

    Examples
    --------
    >>> from tddfa.export.obj import side_stem
    >>> side_stem("me 1")
    'me_1'
    """
    # `mtllib` takes a list of names separated by spaces, `map_Kd` takes options before its name, and many readers
    # end a line at "#" and join lines at a backslash. Every reader finds a file whose name has none of these.
    return re.sub(r"[\s#\\]|^-", "_", stem)


def _vertex_lines(mesh: Mesh, image_height: float, vertex_colors: bool) -> bytes:
    positions = to_file_frame(mesh.vertices, image_height)
    if not vertex_colors:
        return _text.format_rows(b"v ", positions, _POSITION_DECIMALS)
    assert mesh.colors is not None
    rows = np.hstack([positions, np.clip(mesh.colors, 0, 1)])
    return _text.format_rows(b"v ", rows, _POSITION_DECIMALS + _COLOR_DECIMALS)


def encode_obj(
    name: str,
    meshes: list[Mesh],
    textures: list[NDArray[np.uint8]] | None,
    image_height: float,
    *,
    vertex_colors: bool = False,
    image_stem: str | None = None,
    unit: str = "px",
) -> dict[str, bytes]:
    """Encode an OBJ file with one object per mesh (``face_1`` …); with textures, also its materials and images.

    Parameters
    ----------
    name : str
        File name. The other files take its stem: ``x.mtl``, ``x.png``, or ``x_1.png`` … for several faces. White
        space, ``#``, a backslash and a leading ``-`` become ``_`` in their names (not in the OBJ file's own), because
        many readers fail on them in lines that refer to files.
    meshes : list of Mesh
        Image px; written with 3 decimals, uv with 5.
    textures : list of ndarray (h, w, 3) uint8, or None
        BGR, one per mesh; the top row is at v = 1. The meshes need uv.
    image_height : float
        px; the files' y is ``image_height - y``.
    vertex_colors : bool
        Write RGB after each position, in 0..1 with 4 decimals. Not part of the format, but many readers accept it.
    image_stem : str, optional
        Beginning of the names of the images, in place of the stem of `name`.
    unit : str
        Unit of the vertices, written in a comment.

    Returns
    -------
    dict of str to bytes
        The OBJ file, then the .mtl and the images.

    Raises
    ------
    ValueError
        If `vertex_colors` is set and a mesh has no colours.
    """
    for index, mesh in enumerate(meshes):
        if vertex_colors and mesh.colors is None:
            raise ValueError(f"vertex_colors: expected colors in every mesh, got none in meshes[{index}]")
    stem = side_stem(Path(name).stem)
    start = stem if image_stem is None else side_stem(image_stem)
    images = [f"{start}_{face}.png" for face in range(1, len(meshes) + 1)]
    if len(images) == 1:
        images = [f"{start}.png"]
    parts = [f"# {unit}: {AXES}\n".encode()]
    if textures:
        parts.append(b"mtllib " + os.fsencode(f"{stem}.mtl") + b"\n")
    # 1-based, counted separately: a mesh without uv advances only the first
    vertex_start = uv_start = 1
    for face, mesh in enumerate(meshes, start=1):
        parts += [b"o face_%d\n" % face, _vertex_lines(mesh, image_height, vertex_colors)]
        if mesh.uv is not None:
            parts.append(_text.format_rows(b"vt ", mesh.uv, _UV_DECIMALS))
        if textures:
            parts.append(b"usemtl face_%d\n" % face)
        parts.append(b"s 1\n")  # smooth shading: the file has no normals
        parts.append(
            _text.format_faces(b"f ", mesh.triangles, vertex_start, uv_offset=None if mesh.uv is None else uv_start)
        )
        vertex_start += len(mesh.vertices)
        uv_start += 0 if mesh.uv is None else len(mesh.uv)
    files = {name: b"".join(parts)}
    if textures:
        files[f"{stem}.mtl"] = b"".join(
            b"newmtl face_%d\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd %s\n" % (face, os.fsencode(image))
            for face, image in enumerate(images, start=1)
        )
        files |= {image: encode_png(texture) for image, texture in zip(images, textures, strict=True)}
    return files
