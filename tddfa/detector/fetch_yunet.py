"""``tddfa fetch yunet``: check the released file of YuNet and copy it to the cache folder, with a config for it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tddfa._shared.errors import FormatError
from tddfa._shared.files import write_atomic
from tddfa._shared.reading.regular import read_regular
from tddfa.model.assets import AssetError, cache_folder

FILE = "yunet_n_dynamic.onnx"
SHA256 = "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12"
ORIGIN = "libfacedetection.train, Apache-2.0; its training set WIDER FACE is for research"

CONFIG = "open_mb05_yunet"
"""Name of the config of ``open_mb05`` with YuNet as its detector."""
FOREHEAD_CROP = """\
crop:                  # its boxes begin at the forehead, those of our detector below it
  size: 120            # px, side of the crop
  box_length: mean     # the length of a box is (w + h) / 2;
  box_shift_y: 0.155   # from a box: the centre moves down by this times its length
  box_scale: 1.11      # from a box: the side, times its length
  landmark_scale: 1.25 # from landmarks: the side, times the longer side of their box

"""
"""The section of a config for a detector whose boxes begin at the forehead."""

_TEXT = f"""\
# open_mb05 with YuNet as its detector ({ORIGIN}). What each key means: tddfa/model/config.py.
base: open_mb05

{FOREHEAD_CROP}detector:
  kind: yunet
  model: {FILE}
  score: 0.5
  iou: 0.3
  max_area: 2073600    # px, height times width: larger images are shrunk to it (1920 x 1080)
  small_area: 147456   # px: a second pass on a small copy of the image (384 x 384) finds faces that fill the image
  tiles: auto          # and on tiles at native resolution if it would be shrunk more than twice, or around small faces
"""

# The released file has 323 kB.
_MAX_BYTES = 16 << 20


def fetch_yunet(source: str | os.PathLike[str]) -> Path:
    """Copy YuNet's network to the cache folder, and write a config beside it.

    Parameters
    ----------
    source : path
        The released file ``yunet_n_dynamic.onnx``.

    Returns
    -------
    Path
        The config.

    Raises
    ------
    AssetError
        If the file cannot be read, or if it is not the released one; the message names both hashes.
    OSError
        If the cache folder cannot be written.
    """
    source = Path(source)
    try:
        data = read_regular(source, _MAX_BYTES)
    except OSError as error:
        raise AssetError(f"{source}: cannot be read: {error.strerror or error}") from error
    except FormatError as error:
        raise AssetError(f"{source}: not the released file {FILE}: {error}") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != SHA256:
        raise AssetError(
            f"{source}: not the released file {FILE}: expected sha256 {SHA256}, got {actual} ({len(data)} bytes)"
        )
    folder = cache_folder() / "yunet"
    write_atomic(folder / FILE, data)
    return write_atomic(folder / f"{CONFIG}.yml", _TEXT.encode())
