"""Colours of video frames: the matrix of frames without a tag, and HDR to BT.709.

HDR (PQ and HLG of BT.2100) is converted as a display would do it:

1. Signal to light in cd/m²: PQ by its definition; HLG with the system gamma of 1.2 of a display of 1000 cd/m².
2. BT.2020 to BT.709 primaries.
3. 1000 cd/m² to 203, the white of BT.2408: up to 96 cd/m² nothing changes, above it the curve of BT.2390 compresses.
   The largest of the three channels is mapped, and the others keep their ratio to it, so that hues stay.
4. Light to a signal with the gamma of BT.1886, 2.4; what BT.709 cannot show is clipped.

Wide gamut without HDR (BT.2020, Display P3) takes steps 2 and 4. A table of 33³ colours holds the result.
"""

from __future__ import annotations

import functools
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

# FFmpeg's numbers of matrices, primaries and transfer functions; swscale has the same ones for matrices
BT709, UNSPECIFIED, SMPTE170M, BT2020 = 1, 2, 6, 9
LIMITED_RANGE = 1
_NO_MATRIX = (0, UNSPECIFIED, 3)  # RGB, not said, reserved
_PQ, _HLG = 16, 18

# CIE xy of red, green and blue; white is D65
_PRIMARIES = {
    BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_D65 = (0.3127, 0.3290)

_HDR_PEAK, _SDR_WHITE = 1000.0, 203.0  # cd/m²
_SDR_GAMMA, _HLG_GAMMA = 2.4, 1.2
_GRID = 33
_WHITE = 255 / 256  # swscale makes RGB of 16 bits by shifting that of 8 bits
_PLANAR_RGB = "gbrp16le"


def matrix(width: int, height: int) -> int:
    """Matrix of frames of a size that have no tag: BT.709 for HD, BT.601 for smaller ones."""
    return BT709 if width >= 1280 or height > 576 else SMPTE170M


@functools.cache
def one_thread() -> dict[str, Any]:
    """Options of `VideoReformatter.reformat`: one thread; more would compete with the decoder's, at half the speed."""
    try:
        VideoReformatter().reformat(av.VideoFrame(2, 2, "yuv420p"), format="bgr24", threads=1)
    except TypeError:  # PyAV before 17 has no such option
        return {}
    return {"threads": 1}


class ToBgr:
    """Converts decoded frames to BGR of BT.709.

    It uses swscale's fast routines: colours are 1 to 1.5 of 255 darker than exact ones on average, and at most 3. The
    exact routines take 4.8 ms in place of 1.0 ms per frame of 1280 x 720 px.

    Parameters
    ----------
    transfer, primaries : int
        FFmpeg's numbers, of the stream: frames have them only since PyAV 17.
    """

    def __init__(self, transfer: int, primaries: int) -> None:
        self._reformatter = VideoReformatter()
        if transfer not in (_PQ, _HLG):
            transfer = BT709
        elif primaries == UNSPECIFIED:
            primaries = BT2020
        if primaries not in _PRIMARIES:
            primaries = BT709
        self._colors = transfer, primaries
        self._is_wide = self._colors != (BT709, BT709)
        self._table: _Table | None = None

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Convert a frame to an image of `size`, width and height in px.

        Returns
        -------
        ndarray (h, w, 3) uint8
        """
        space = frame.colorspace
        if space in _NO_MATRIX and not frame.format.is_rgb:
            space = BT2020 if self._is_wide else matrix(frame.width, frame.height)
        converted = self._reformatter.reformat(
            frame,
            *size,
            format=_PLANAR_RGB if self._is_wide else "bgr24",
            src_colorspace=space,
            dst_colorspace=SMPTE170M,  # RGB has none; PyAV 16 heeds the source's only if they differ
            **one_thread(),
        )
        if not self._is_wide:
            return np.asarray(converted.to_ndarray(), dtype=np.uint8)
        if self._table is None or self._table.size != size:  # the size of a stream hardly ever changes
            self._table = _Table(*self._colors, size)
        return self._table(converted)


class _Table:
    """A table of colours, applied by FFmpeg to planar RGB of 16 bits and one size."""

    def __init__(self, transfer: int, primaries: int, size: tuple[int, int]) -> None:
        self.size = width, height = size
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=width,
            height=height,
            format=av.VideoFormat(_PLANAR_RGB, width, height),
            time_base=Fraction(1, 1000),
        )
        with tempfile.TemporaryDirectory(prefix="tddfa-") as folder:
            file = Path(folder) / "colors.cube"
            file.write_text(_cube(transfer, primaries), encoding="ascii")
            table = self._graph.add("lut3d", file=str(file), interp="tetrahedral")
            sink = self._graph.add("buffersink")
            source.link_to(table)
            table.link_to(sink)
            self._graph.configure()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        self._graph.vpush(frame)
        green, blue, red = (self._upper_bits(plane) for plane in self._graph.vpull().planes)
        return np.asarray(cv2.merge([blue, green, red]), dtype=np.uint8)

    @staticmethod
    def _upper_bits(plane: Any) -> NDArray[np.uint8]:
        values = np.frombuffer(plane, dtype="<u2").reshape(plane.height, -1)[:, : plane.width]
        return np.asarray(cv2.convertScaleAbs(values, alpha=255 / 65535), dtype=np.uint8)


@functools.cache
def _cube(transfer: int, primaries: int) -> str:
    """The table as the text of a .cube file; red changes fastest."""
    steps = np.minimum(np.linspace(0, 1 / _WHITE, _GRID), 1)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colors = to_bt709(np.stack([red, green, blue], axis=-1), transfer, primaries)
    lines = ("{:.6f} {:.6f} {:.6f}".format(*color) for color in colors.reshape(-1, 3).tolist())
    return "\n".join([f"LUT_3D_SIZE {_GRID}", *lines, ""])


def to_bt709(signal: NDArray[np.float64], transfer: int, primaries: int) -> NDArray[np.float64]:
    """Convert colours to BT.709, as the text at the top of this file says.

    Parameters
    ----------
    signal : ndarray (..., 3) float
        R'G'B' in 0..1.
    transfer, primaries : int
        FFmpeg's numbers: 16 (PQ), 18 (HLG), others as BT.1886; 1 (BT.709), 9 (BT.2020), 12 (Display P3).

    Returns
    -------
    ndarray (..., 3) float64
        R'G'B' in 0..1.

    Examples
    --------
    >>> from tddfa.video.colors import to_bt709
    >>> to_bt709(np.full(3, 0.75), transfer=18, primaries=9).round(2)  # the white of a sheet of paper in HLG
    array([0.9, 0.9, 0.9])
    """
    to_rgb = np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(primaries)
    light = _light(np.asarray(signal, dtype=np.float64), transfer) @ to_rgb.T
    if transfer in (_PQ, _HLG):
        largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-9)
        light = light * (_compressed(largest) / largest)
    return np.asarray(np.clip(light / _SDR_WHITE, 0, 1) ** (1 / _SDR_GAMMA))


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """Matrix from linear RGB to CIE XYZ."""
    corners = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*_PRIMARIES[primaries], _D65)]).T
    rgb, white = corners[:, :3], corners[:, 3]
    return np.asarray(rgb * np.linalg.solve(rgb, white))


def _light(signal: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """Signal to light of a display, cd/m²."""
    if transfer == _PQ:
        return _pq_light(signal)
    if transfer != _HLG:
        return np.asarray(_SDR_WHITE * signal**_SDR_GAMMA)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ _to_xyz(BT2020)[1]
    return np.asarray(_HDR_PEAK * scene * np.maximum(luminance, 1e-9)[..., None] ** (_HLG_GAMMA - 1))


_PQ_M1, _PQ_M2, _PQ_C1, _PQ_C2, _PQ_C3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    root = np.clip(signal, 0, 1) ** (1 / _PQ_M2)
    return np.asarray(10000 * (np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1))


def _pq_signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    power = (light / 10000) ** _PQ_M1
    return np.asarray(((_PQ_C1 + _PQ_C2 * power) / (1 + _PQ_C3 * power)) ** _PQ_M2)


def _compressed(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """The curve of BT.2390 from 0..1000 to 0..203 cd/m²: a straight line, then a Hermite spline, in PQ."""
    peak = _pq_signal(np.array(_HDR_PEAK))
    white = _pq_signal(np.array(_SDR_WHITE)) / peak
    knee = 1.5 * white - 0.5
    values = np.minimum(_pq_signal(light) / peak, 1)
    t = (values - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    return _pq_light(np.where(values < knee, values, spline) * peak)
