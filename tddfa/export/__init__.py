"""Export of meshes as PLY, OBJ or GLB; the suffix selects the format.

The files are right-handed: x right, y up, z towards the viewer, in px of the image (`tddfa.export.frame`).
Vertices are neither clipped nor moved, except that y becomes ``image_height - y``. A GLB takes rigs too
(`tddfa.export.rigs`): faces that can be posed, in metres.

Each format is a function from meshes to bytes; only `save` writes to the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa._shared.files import write_together
from tddfa.export.frame import checked_height
from tddfa.export.glb import encode_glb
from tddfa.export.obj import encode_obj
from tddfa.export.ply import encode_ply
from tddfa.export.rig import SPACES, Rig, Space, rigs, upright
from tddfa.types import Mesh

__all__ = ["SPACES", "SUFFIXES", "Rig", "Space", "encode", "rigs", "save", "upright"]

# suffix -> its encoder and the options that it takes
_FORMATS: dict[str, tuple[Callable[..., dict[str, bytes]], tuple[str, ...]]] = {
    ".ply": (encode_ply, ("ascii", "unit")),
    ".obj": (encode_obj, ("vertex_colors", "image_stem", "unit")),
    ".glb": (encode_glb, ("metres_per_px",)),
}

SUFFIXES = tuple(_FORMATS)
"""The suffixes that `encode` and `save` accept."""


def _checked_meshes(meshes: Mesh | Rig | Sequence[Mesh | Rig], suffix: str) -> list[Mesh | Rig]:
    known: Any = (Mesh, Rig) if suffix == ".glb" else Mesh
    listed = [meshes] if isinstance(meshes, Mesh | Rig) else list(meshes)
    for index, mesh in enumerate(listed):
        if not isinstance(mesh, known):
            expected = "a Mesh or a Rig" if suffix == ".glb" else "a Mesh"
            raise TypeError(f"meshes[{index}]: expected {expected}, got {type(mesh).__name__}")
    return listed


def _checked_textures(
    textures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None, meshes: list[Mesh | Rig]
) -> list[NDArray[np.uint8]] | None:
    if textures is None:
        return None
    # one image is for one mesh; an array of 4 dimensions is a sequence of images
    alone = isinstance(textures, np.ndarray) and textures.ndim < 4
    listed: list[Any] = [textures] if alone else list(textures)
    if len(listed) != len(meshes):
        raise ValueError(f"textures: expected one for each of {len(meshes)} meshes, got {len(listed)}")
    for index, mesh in enumerate(meshes):
        checked_image(f"textures[{index}]", listed[index])
        if mesh.uv is None:
            raise ValueError(f"textures: expected uv in every mesh, got none in meshes[{index}]")
    return listed


def encode(
    name: str,
    meshes: Mesh | Rig | Sequence[Mesh | Rig],
    *,
    textures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None,
    image_height: float = 0.0,
    ascii: bool | None = None,
    vertex_colors: bool | None = None,
    image_stem: str | None = None,
    metres_per_px: float | None = None,
    unit: str | None = None,
) -> dict[str, bytes]:
    """Encode meshes as the contents of one or several files, without touching the disk.

    Parameters
    ----------
    name : str
        Name of the main file, without a folder; its suffix selects the format: .ply, .obj or .glb.
    meshes : Mesh, Rig or sequence of them
        Meshes in image px, or rigs in metres (GLB only). PLY merges all meshes; OBJ has one object per mesh, GLB one
        node. An empty sequence gives a PLY or OBJ file without vertices; for GLB it is an error.
    textures : ndarray (h, w, 3) uint8, or sequence of them, optional
        BGR, one per mesh; the top row is at v = 1. For OBJ and GLB, and meshes with uv.
    image_height : float
        px. The origin of the file is this far below the image's upper edge; 0 puts it at the upper edge.
    ascii : bool, optional
        PLY only: text instead of binary (default False).
    vertex_colors : bool, optional
        OBJ only: write RGB after each position (default False).
    image_stem : str, optional
        OBJ only: beginning of the names of the texture images (default: the stem of the file).
    metres_per_px : float, optional
        GLB only: scale of the nodes of meshes (default 0.001).
    unit : str, optional
        PLY and OBJ only: unit of the vertices, for a comment in the file (default px).

    Returns
    -------
    dict of str to bytes
        File name to content, the main file first.

    Raises
    ------
    ValueError
        If the suffix is unknown, the textures do not fit the meshes, or the format cannot hold the meshes.
    TypeError
        If an option belongs to another format, or an argument has the wrong type.

    Examples
    --------
    >>> from tddfa import export
    >>> files = export.encode("face.ply", mesh, image_height=image.shape[0])
    >>> files["face.ply"][:3]
    b'ply'
    """
    if Path(name).name != name:
        raise ValueError(f"name: expected a file name without a folder, got {name!r}")
    suffix = Path(name).suffix
    if suffix.lower() not in _FORMATS:
        raise ValueError(f"suffix: expected one of {', '.join(SUFFIXES)}, got {suffix!r} of {name!r}")
    encoder, accepted = _FORMATS[suffix.lower()]
    given = {
        "ascii": ascii,
        "vertex_colors": vertex_colors,
        "image_stem": image_stem,
        "metres_per_px": metres_per_px,
        "unit": unit,
    }
    options = {option: value for option, value in given.items() if value is not None}
    for option in options.keys() - accepted:
        raise TypeError(f"{option}: not an option of {suffix.lower()}, which has {', '.join(accepted)}")
    if image_stem is not None and (not image_stem or Path(image_stem).name != image_stem):
        raise ValueError(f"image_stem: expected a file name without a folder, got {image_stem!r}")
    if unit is not None and not unit.isprintable():
        raise ValueError(f"unit: expected one line of text, got {unit!r}")
    listed = _checked_meshes(meshes, suffix.lower())
    return encoder(name, listed, _checked_textures(textures, listed), checked_height(image_height), **options)


def save(
    path: str | os.PathLike[str],
    meshes: Mesh | Rig | Sequence[Mesh | Rig],
    *,
    textures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None,
    image_height: float = 0.0,
    ascii: bool | None = None,
    vertex_colors: bool | None = None,
    image_stem: str | None = None,
    metres_per_px: float | None = None,
    unit: str | None = None,
) -> list[Path]:
    """Write meshes to `path`; missing folders are created.

    Everything is encoded before the first file is written, and no file gets its name before all are on the disk. The
    main file is the last one, so that it never refers to a missing file.

    Parameters
    ----------
    path : path-like
        The main file; its suffix selects the format: .ply, .obj or .glb.
    meshes, textures, image_height, ascii, vertex_colors, metres_per_px, unit
        As for `encode`.

    Returns
    -------
    list of Path
        The files written, the main file first.

    Raises
    ------
    OSError
        If the folder cannot be created or written, or `path` is a folder.
    ValueError, TypeError
        As for `encode`.

    Examples
    --------
    >>> from tddfa import export
    >>> [path.name for path in export.save(tmp / "face.obj", mesh)]
    ['face.obj']
    """
    path = Path(path)
    files = encode(
        path.name,
        meshes,
        textures=textures,
        image_height=image_height,
        ascii=ascii,
        vertex_colors=vertex_colors,
        image_stem=image_stem,
        metres_per_px=metres_per_px,
        unit=unit,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"path: its folder cannot be made ({error.strerror})", str(path.parent)) from error
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file, got the folder {path}")
    main, *sides = (path.with_name(name) for name in files)
    write_together({target: files[target.name] for target in (*sides, main)})
    return [main, *sides]
