"""Files of scans: ``.obj .ply .stl .glb``, meshes or point clouds, with or without colours."""

from __future__ import annotations

import logging
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.errors import FormatError
from tddfa._shared.packages import needs
from tddfa._shared.reading.regular import regular_size
from tddfa._shared.reading.text import parse_json
from tddfa.scan.files.side_files import side_files
from tddfa.scan.mesh import Scan

logger = logging.getLogger(__name__)

SUFFIXES = (".obj", ".ply", ".stl", ".glb")
"""Suffixes of files that can be read."""

MAX_BYTES = 2 << 30
"""A larger file is refused."""

MAX_POINTS = 30_000_000
"""More vertices or triangles are refused."""

# Maximum fraction of NaN or infinite vertices in a scan that is still read.
_MAX_BROKEN = 0.5
# A scan whose triangles have more than this fraction of its vertices is a mesh, and its other vertices are left out.
_MESH = 0.5
_HEADER = 1 << 16
# Maximum size of all accessors of a .glb file together, in sizes of the file, because accessors may share bytes; and
# maximum bytes of accessors without bytes in the file, such as morph targets that move few vertices.
_SHARED, _MAX_ZEROS = 8, 12 * MAX_POINTS // 4
# Bytes of a number, and numbers of an element, of accessors of .glb files.
_NUMBERS = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_ELEMENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def read_scan(path: str | os.PathLike[str]) -> Scan:
    r"""Read a scan. Vertices at one place are joined; NaN and infinite vertices are left out, with a warning.

    Parameters
    ----------
    path : path
        ``.obj``, ``.ply``, ``.stl`` or ``.glb``.

    Raises
    ------
    FormatError
        If the file is no scan, is damaged, holds no points or more than can be read; the message names it.
    ImportError
        If trimesh is missing.

    Examples
    --------
    >>> from tddfa.scan.files.reading import read_scan
    >>> _ = (tmp / "corner.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    >>> sorted(read_scan(tmp / "corner.obj").triangles[0].tolist())
    [0, 1, 2]
    """
    path = Path(path)
    return _cleaned(path, *_loaded(path))


def file_vertices(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    r"""Read the vertices (n, 3) of a scan as in the file: in the same order, with none joined or left out.

    Raises
    ------
    FormatError, ImportError
        As by `read_scan`.

    Examples
    --------
    >>> from tddfa.scan.files.reading import file_vertices
    >>> _ = (tmp / "twice.obj").write_text("v 0 0 0\nv 0 0 0\nv 0 1 0\nf 1 2 3\n")
    >>> len(file_vertices(tmp / "twice.obj"))
    3
    """
    path = Path(path)
    if path.suffix.lower() != ".obj":
        return _loaded(path)[0]
    _checked_size(path)
    # trimesh splits the vertices of an .obj along the borders of its texture
    with path.open("rb") as file:
        rows = [line.split()[1:4] for line in file if line.startswith((b"v ", b"v\t"))]
    try:
        return np.array(rows, dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise FormatError(f"{path}: not a scan that can be read: {error}") from error


def _checked_size(path: Path) -> int:
    """Bytes of a scan that may be read."""
    try:
        size = regular_size(path)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatError(f"{path}: expected a scan ({', '.join(SUFFIXES)}), got {suffix or 'no suffix'}")
    if not 0 < size <= MAX_BYTES:
        raise FormatError(f"{path}: expected 1 to {MAX_BYTES} bytes, got {size or 'an empty file'}")
    return size


def _loaded(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Vertices, triangles and colours of a file, as trimesh reads them."""
    size, suffix = _checked_size(path), path.suffix.lower()
    _check_claims(path, suffix, size)
    try:
        import trimesh
    except ImportError as error:
        raise ImportError(needs("reading scans", "trimesh")) from error
    try:
        loaded = trimesh.load(path, process=False, file_type=suffix[1:], resolver=side_files(path))
        return _arrays(loaded, trimesh)
    except MemoryError:
        raise
    except (LookupError, AttributeError) as error:  # "list index out of range" would not help
        raise FormatError(f"{path}: not a scan that can be read: the file is damaged or truncated") from error
    except Exception as error:  # its readers raise whatever their parsers raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: not a scan that can be read: {reason}") from error


def _check_claims(path: Path, suffix: str, size: int) -> None:
    """Refuse a file that claims more than it has, before memory is taken."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    claims: list[int] = []
    if suffix == ".ply":
        # a vertex or a triangle takes three bytes or more
        header = head.partition(b"end_header")[0]
        counts = [int(number) for number in re.findall(rb"^element\s+\S+\s+(\d{1,30})\s*$", header, re.MULTILINE)]
        claims = [3 * count for count in counts]
        if re.search(rb"^format\s+ascii", header, re.MULTILINE):
            _check_lines(path, len(header), sum(counts), b"\n" if b"\n" in header else b"\r")
    elif suffix == ".stl" and not head.lstrip().startswith(b"solid") and len(head) >= 84:
        claims = [84 + 50 * struct.unpack("<I", head[80:84])[0]]
    elif suffix == ".glb":
        claims = _glb_claims(path)
    most = max(claims, default=0)
    if most > size:
        raise FormatError(f"{path}: damaged: it claims {most} bytes or more of points, and has {size}")


def _check_lines(path: Path, start: int, count: int, newline: bytes) -> None:
    """Refuse text that has fewer lines than elements: its reader may leave out what is missing."""
    lines, last = -1, newline  # the first one ends the header
    with path.open("rb") as file:
        file.seek(start)
        while part := file.read(1 << 20):
            lines += part.count(newline)
            last = part[-1:]
    lines += last != newline
    if lines < count:
        raise FormatError(f"{path}: damaged or truncated: expected {count} lines of elements, got {max(lines, 0)}")


def _glb_claims(path: Path) -> list[int]:
    with path.open("rb") as file:
        start = file.read(20)
        if len(start) < 20 or start[:4] != b"glTF":
            raise FormatError(f"{path}: not a scan that can be read: it does not begin like a .glb file")
        length = struct.unpack("<I", start[12:16])[0]
        if length > path.stat().st_size:
            raise FormatError(f"{path}: damaged: it claims {length} bytes of JSON, and has {path.stat().st_size}")
        try:
            content = parse_json(file.read(length).decode())
            own, zeros = [0], 0
            for accessor in content.get("accessors", ()):
                claim = int(accessor["count"]) * _NUMBERS[accessor["componentType"]] * _ELEMENTS[accessor["type"]]
                if "bufferView" in accessor:
                    own.append(claim)
                else:  # zeros that are not in the file, but for some of them
                    zeros += claim
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise FormatError(f"{path}: not a scan that can be read: its JSON is damaged") from error
    if zeros > _MAX_ZEROS:
        raise FormatError(f"{path}: expected at most {_MAX_ZEROS} bytes of points that are not in it, got {zeros}")
    return [max(own), sum(own) // _SHARED]


def _arrays(loaded: Any, trimesh: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Vertices, triangles and colours (RGB, 0..1) of what trimesh gives: a scene, a mesh or a cloud."""
    if isinstance(loaded, trimesh.Scene):
        _check_instances(loaded)
    parts = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
    vertices, triangles, colors = [], [], []
    count = 0
    for part in parts:
        points = np.asarray(getattr(part, "vertices", np.zeros((0, 3))), dtype=np.float64)
        if points.ndim != 2 or points.shape[1:] != (3,):
            continue
        faces = np.asarray(getattr(part, "faces", np.zeros((0, 3))), dtype=np.int64).reshape(-1, 3)
        if len(points) + count > MAX_POINTS or len(faces) > MAX_POINTS:
            got = f"{len(points) + count} vertices and {len(faces)} triangles"
            raise ValueError(f"expected at most {MAX_POINTS} vertices and triangles, got {got} or more")
        vertices.append(points)
        triangles.append(faces + count)
        colors.append(_colors(part, len(points)))
        count += len(points)
    if not count:
        raise ValueError("expected vertices, got none")
    known = [color for color in colors if color is not None]
    together = np.concatenate(known) if len(known) == len(colors) else None
    return np.concatenate(vertices), np.concatenate(triangles), together


def _check_instances(scene: Any) -> None:
    """Refuse a scene whose parts have too many points. Each part may occur thousands of times."""
    vertices = triangles = 0
    for node in scene.graph.nodes_geometry:
        part = scene.geometry[scene.graph[node][1]]
        vertices += len(getattr(part, "vertices", ()))
        triangles += len(getattr(part, "faces", ()))
        if max(vertices, triangles) > MAX_POINTS:
            got = f"{vertices} vertices and {triangles} triangles"
            raise ValueError(f"expected at most {MAX_POINTS} vertices and triangles, got {got} or more")


def _colors(part: Any, count: int) -> NDArray[Any] | None:
    """Colours of vertices, or of the texture at them."""
    own = getattr(part, "colors", None)
    if own is None:
        visual: Any = getattr(part, "visual", None)
        kind = getattr(visual, "kind", None)
        if kind == "texture":
            image = getattr(getattr(visual, "material", None), "image", None)
            image = getattr(visual.material, "baseColorTexture", None) if image is None else image
            if image is None or visual.uv is None:
                return None
            visual = visual.to_color()
        elif kind != "vertex":
            return None
        own = visual.vertex_colors
    own = np.asarray(own)
    if own.shape[:1] != (count,) or own.ndim != 2 or own.shape[1] < 3:
        return None
    if not np.ptp(own[:, :3], axis=0).any():  # the colour of a material without an image
        return None
    return np.asarray(own[:, :3] / (255.0 if own.dtype.kind in "iu" else 1.0), dtype=np.float32).clip(0, 1)


def _cleaned(path: Path, vertices: NDArray[Any], triangles: NDArray[Any], colors: NDArray[Any] | None) -> Scan:
    """Join vertices at one place; leave out what is no number, and triangles without area or with wrong indices."""
    good = np.isfinite(vertices).all(axis=1) & (np.abs(np.nan_to_num(vertices)) < 1e15).all(axis=1)
    broken = len(vertices) - int(np.count_nonzero(good))
    if broken > _MAX_BROKEN * len(vertices):
        raise FormatError(f"{path}: {broken} of {len(vertices)} vertices are not finite or too large")
    if broken:
        text = "%s: %d of %d vertices are not finite or too large, and are left out"
        logger.warning(text, path, broken, len(vertices))
    inside = ((triangles >= 0) & (triangles < len(vertices))).all(axis=1)
    if not inside.all():
        text = "%s: %d triangles refer to vertices that do not exist, and are left out"
        logger.warning(text, path, (~inside).sum())
    triangles = triangles[inside]
    triangles = triangles[good[triangles].all(axis=1)]
    # by a hash of the bytes: rows are slow to sort
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
    bits = (vertices + 0.0).view(np.uint64).reshape(-1, 3)
    with np.errstate(over="ignore"):
        keys = ((bits ^ (bits >> np.uint64(29))) * factors).sum(axis=1, dtype=np.uint64)
    kept = np.flatnonzero(good)
    _, first, inverse = np.unique(keys[kept], return_index=True, return_inverse=True)
    number = np.zeros(len(vertices), dtype=np.int64)
    number[kept] = inverse.reshape(-1)
    triangles = number[triangles]
    chosen = kept[first]
    if not len(chosen):
        raise FormatError(f"{path}: expected vertices, got none")
    used = np.zeros(len(chosen), dtype=bool)
    used[triangles] = True
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (a != c)]
    if used.mean() > _MESH:  # vertices without a triangle may lie anywhere; a cloud has no others
        triangles = (np.cumsum(used) - 1)[triangles]
        chosen = chosen[used]
    return Scan(
        np.ascontiguousarray(vertices[chosen]),
        triangles.astype(np.int32),
        None if colors is None else np.ascontiguousarray(colors[chosen]),
    )
