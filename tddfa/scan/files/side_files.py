"""Materials and textures beside a scan: regular files in its folder, of sizes that can be read."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

from tddfa._shared.errors import FormatError, reason
from tddfa._shared.reading.regular import read_regular

logger = logging.getLogger(__name__)

MAX_BYTES = 256 << 20
"""A larger file beside a scan is not read."""

MAX_PIXELS = 8192 * 8192
"""A texture of more pixels is not read."""


def side_files(scan: Path) -> Any:
    """Make a resolver of trimesh for the files beside a scan.

    A file that is not read is a warning, because trimesh goes on without it.
    """
    from trimesh.resolvers import FilePathResolver

    class SideFiles(FilePathResolver):
        def get(self, name: str) -> bytes:
            try:
                return _content(scan, name)
            except (OSError, ValueError) as error:
                logger.warning("%s: colours of %s are left out: %s", scan, name.strip(), reason(error))
                raise

    return SideFiles(str(scan))


def _content(scan: Path, name: str) -> bytes:
    folder = scan.parent.resolve()
    name = name.strip().replace("\\", "/")
    for candidate in (name, Path(name).name):
        path = (folder / candidate).resolve()
        if path.is_relative_to(folder) and path.exists():
            data = read_regular(path, MAX_BYTES)
            if path.suffix.lower() != ".mtl":
                _check_image(data)
            return data
    raise FileNotFoundError("no such file in the folder of the scan")


def _check_image(data: bytes) -> None:
    from PIL import Image

    try:
        width, height = Image.open(io.BytesIO(data)).size
    except (OSError, Image.DecompressionBombError) as error:
        raise FormatError(f"expected an image: {error}") from error
    if width * height > MAX_PIXELS:
        raise FormatError(f"expected an image of at most {MAX_PIXELS} px, got {width} x {height}")
