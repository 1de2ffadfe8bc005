"""Meshes to files: PLY, OBJ and GLB, found by suffix.

The files are right-handed: x right, y up, z towards the viewer, in px of the picture (`tddfa.export.frame`).
No vertex is clipped or moved but for y, which becomes ``image_height - y``.

Each format is a function from meshes to bytes; `save` alone touches the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa._shared.files import write_atomic
from tddfa.export.frame import checked_height
from tddfa.export.glb import encode_glb
from tddfa.export.obj import encode_obj
from tddfa.export.ply import encode_ply
from tddfa.types import Mesh

__all__ = ["SUFFIXES", "encode", "save"]

_FORMATS: dict[str, Callable[..., dict[str, bytes]]] = {
    ".ply": encode_ply,
    ".obj": encode_obj,
    ".glb": encode_glb,
}

SUFFIXES = tuple(_FORMATS)
"""The suffixes that `encode` and `save` know."""


def _checked_meshes(meshes: Mesh | Sequence[Mesh]) -> list[Mesh]:
    listed = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    for index, mesh in enumerate(listed):
        if not isinstance(mesh, Mesh):
            raise TypeError(f"meshes[{index}]: expected a Mesh, got {type(mesh).__name__}")
    return listed


def _checked_textures(
    textures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None, meshes: list[Mesh]
) -> list[NDArray[np.uint8]] | None:
    if textures is None:
        return None
    # one image for one mesh; an array of 4 dimensions is as good as a sequence
    alone = isinstance(textures, np.ndarray) and textures.ndim < 4
    listed: list[Any] = [textures] if alone else list(textures)
    if len(listed) != len(meshes):
        raise ValueError(f"textures: expected one a mesh, {len(meshes)}, got {len(listed)}")
    for index, mesh in enumerate(meshes):
        checked_image(f"textures[{index}]", listed[index])
        if mesh.uv is None:
            raise ValueError(f"textures: expected uv in every mesh, got none in meshes[{index}]")
    return listed


def encode(
    name: str,
    meshes: Mesh | Sequence[Mesh],
    *,
    textures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None,
    image_height: float = 0.0,
    **options: Any,
) -> dict[str, bytes]:
    """Make the files of some meshes, without touching the disk.

    Parameters
    ----------
    name : str
        Name of the main file, without a folder; its suffix says the format: .ply, .obj or .glb.
    meshes : Mesh or sequence of Mesh
        Image px. Several are merged (ply), or are an object (obj) or a node (glb) each. None at all gives a
        file of 0 vertices in ply and obj, and is an error in glb.
    textures : ndarray (h, w, 3) uint8, or sequence of them, optional
        BGR, one a mesh; the top row is at v = 1. For obj and glb, and meshes with uv.
    image_height : float
        px. The files' origin lies that far below the picture's upper edge; 0 puts it at the upper edge.
    **options
        Of the format: ``ascii`` (ply), ``vertex_colors`` (obj), ``metres_per_px`` (glb); see `encode_ply`,
        `encode_obj`, `encode_glb`.

    Returns
    -------
    dict of str to bytes
        File name to content, the main file first.

    Raises
    ------
    ValueError
        If the suffix is unknown, the textures do not fit the meshes, or the format cannot hold what came.
    TypeError
        If an option is not the format's, or an argument is of another type.
    ImportError
        If the format needs a package that is not installed (glb).
    """
    if Path(name).name != name:
        raise ValueError(f"name: expected a file name without a folder, got {name!r}")
    suffix = Path(name).suffix
    if suffix.lower() not in _FORMATS:
        raise ValueError(f"suffix: expected one of {', '.join(SUFFIXES)}, got {suffix!r} of {name!r}")
    listed = _checked_meshes(meshes)
    return _FORMATS[suffix.lower()](
        name, listed, _checked_textures(textures, listed), checked_height(image_height), **options
    )


def save(
    path: str | os.PathLike[str],
    meshes: Mesh | Sequence[Mesh],
    *,
    textures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None,
    image_height: float = 0.0,
    **options: Any,
) -> list[Path]:
    """Write some meshes to `path`; missing folders are made.

    Everything is encoded before the first file is written, each file appears whole, and the main file comes
    last: it never refers to a file that is not there yet.

    Parameters
    ----------
    path : path-like
        The main file; its suffix says the format: .ply, .obj or .glb.
    meshes, textures, image_height, **options
        As for `encode`.

    Returns
    -------
    list of Path
        The files written, the main one first.

    Raises
    ------
    OSError
        If the folder cannot be made or written, or `path` is a folder.
    ValueError, TypeError, ImportError
        As for `encode`.
    """
    path = Path(path)
    files = encode(path.name, meshes, textures=textures, image_height=image_height, **options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"path: its folder cannot be made ({error.strerror})", str(path.parent)) from error
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file, got the folder {path}")
    main, *sides = (path.with_name(name) for name in files)
    for side in sides:
        write_atomic(side, files[side.name])
    write_atomic(main, files[main.name])
    return [main, *sides]
