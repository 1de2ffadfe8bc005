"""Colours of what is read and written: matrices, HDR and wide gamut. The references are the formulas of the ITU."""

import math

import av
import cv2
import numpy as np
import pytest

from builders_video import flat_video
from tddfa import video

# red and blue of luma: BT.601, BT.709, BT.2020
LUMA = {6: (0.299, 0.114), 1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
PQ, HLG = 16, 18
SD, HD, PORTRAIT = (640, 480), (1280, 720), (720, 1280)


def to_yuv(bgr, matrix, bits=8):
    """R'G'B' to limited range, of BT.601, BT.709 or BT.2020."""
    kr, kb = LUMA[matrix]
    b, g, r = (np.asarray(bgr, float) / 255).T
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    return np.rint(np.stack([16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr], axis=-1) * 2 ** (bits - 8))


def painted(color, size, matrix, bits=8):
    return np.broadcast_to(to_yuv(np.array(color, float), matrix, bits), (size[1], size[0], 3))


def read(path):
    [frame] = video.frames(path)
    return frame.image.astype(int)


@pytest.mark.parametrize("color", [(40, 60, 220), (220, 120, 30), (60, 200, 60)])
@pytest.mark.parametrize(
    ("size", "tag", "matrix"),
    [(HD, 2, 1), (PORTRAIT, 2, 1), (SD, 2, 6), (HD, 6, 6), (SD, 1, 1), (HD, 1, 1), (SD, 9, 9)],
)
def test_the_matrix_is_the_tag_s_or_that_of_the_size(tmp_path, color, size, tag, matrix):
    path = flat_video(tmp_path / "x.mkv", painted(color, size, matrix), "yuv420p", colorspace=tag)
    assert np.abs(read(path) - color).max() <= 2


@pytest.mark.parametrize(("size", "matrix"), [(HD, 1), (PORTRAIT, 1), (SD, 6), ((95, 63), 6)])
@pytest.mark.parametrize("color", [(40, 60, 220), (220, 120, 30), (128, 128, 128)])
def test_written_colours_are_what_their_tags_say(tmp_path, size, matrix, color):
    path = tmp_path / "out.mp4"
    with video.Writer(path, fps=25, crf=1) as writer:
        writer.write(np.full((size[1], size[0], 3), color, np.uint8))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
    assert tags == (matrix, 1, 1, 1)
    middle = [np.frombuffer(plane, np.uint8)[plane.line_size * (plane.height // 2) + 9] for plane in frame.planes]
    assert np.abs(middle - to_yuv(np.array(color), matrix)).max() <= 1
    assert np.abs(read(path) - color).max() <= 5


def test_a_written_video_has_the_colours_of_an_image(tmp_path, astronaut):
    image = cv2.resize(astronaut, (1280, 720), interpolation=cv2.INTER_AREA)
    with video.Writer(tmp_path / "out.mp4", fps=25, crf=4) as writer:
        writer.write(image)
    assert np.abs(read(tmp_path / "out.mp4") - image).mean() < 3


def pq_light(signal):
    """cd/m², ST 2084."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = signal ** (1 / m2)
    return 10000 * (max(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def pq_signal(light):
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (light / 10000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def hlg_light(signal):
    """cd/m² of grey on a display of 1000 cd/m², BT.2100."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * math.log(4 * a)
    scene = signal**2 / 3 if signal <= 0.5 else (math.exp((signal - c) / a) + b) / 12
    return 1000 * scene**1.2


def shown(light):
    """Level of grey in BT.709: the curve of BT.2390 from 1000 to 203 cd/m², then the gamma of BT.1886."""
    e1 = min(pq_signal(light) / pq_signal(1000), 1)
    most = pq_signal(203) / pq_signal(1000)
    ks = 1.5 * most - 0.5
    if e1 > ks:
        t = (e1 - ks) / (1 - ks)
        e1 = (2 * t**3 - 3 * t**2 + 1) * ks + (t**3 - 2 * t**2 + t) * (1 - ks) + (-2 * t**3 + 3 * t**2) * most
    return 255 * (pq_light(e1 * pq_signal(1000)) / 203) ** (1 / 2.4)


@pytest.mark.parametrize(("transfer", "light"), [(PQ, pq_light), (HLG, hlg_light)])
@pytest.mark.parametrize("primaries", [9, 2])
def test_a_grey_ramp_of_hdr(tmp_path, transfer, light, primaries):
    codes = np.arange(64, 941)[:876]
    ramp = np.full((8, 876, 3), 512)
    ramp[..., 0] = codes
    tags = {"colorspace": primaries, "color_primaries": primaries, "color_trc": transfer, "color_range": 1}
    image = read(flat_video(tmp_path / "x.mkv", ramp, "yuv420p10le", **tags))
    expected = np.array([shown(light((code - 64) / 876)) for code in codes])
    assert np.abs(image - expected[None, :, None]).max() <= 1.5
    assert (np.diff(image[4, :, 1]) >= 0).all()
    assert image[0, -1].min() >= 254


def test_colours_of_hdr_keep_their_hue(tmp_path):
    """A mild colour of BT.2020, below the knee, by the matrix of BT.2087."""
    signal = np.array([0.35, 0.40, 0.45])  # BGR
    scene = signal**2 / 3
    light = 1000 * scene * (scene @ [0.0593, 0.6780, 0.2627]) ** 0.2
    to_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    expected = 255 * ((to_709 @ light[::-1])[::-1] / 203) ** (1 / 2.4)
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": HLG, "color_range": 1}
    path = flat_video(tmp_path / "x.mkv", painted(signal * 255, (64, 64), 9, 10), "yuv420p10le", **tags)
    assert np.abs(read(path) - expected).max() <= 1.5
    # and one that is brighter than BT.709 can show: the order of its channels stays
    path = flat_video(tmp_path / "y.mkv", painted((120, 160, 230), (64, 64), 9, 10), "yuv420p10le", **tags)
    blue, green, red = read(path)[32, 32]
    assert 240 < red <= 255
    assert blue + 10 < green < red - 100


def test_wide_gamut_without_hdr(tmp_path):
    grey = flat_video(tmp_path / "x.mkv", painted((130,) * 3, (64, 64), 9), "yuv420p", colorspace=9, color_primaries=9)
    assert np.abs(read(grey) - 130).max() <= 1
    # the red of BT.709 in BT.2020, whose inverse matrix BT.2087 has
    red = 255 * np.array([0.0164, 0.0691, 0.6274]) ** (1 / 2.4)
    path = flat_video(tmp_path / "y.mkv", painted(red, (64, 64), 9), "yuv420p", colorspace=9, color_primaries=9)
    image = read(path)[32, 32]
    assert image[2] >= 252
    assert image[:2].max() <= 40  # 8 bits: a step at black is 25


def test_an_hlg_video_looks_like_its_photo(cases, astronaut):
    seen = [frame.image for frame in video.frames(cases / "hdr_hlg_10bit.mp4", end=2)]
    assert len(seen) == 3
    difference = seen[0].astype(int) - astronaut
    assert np.abs(difference).mean() < 12
    face = difference[60:180, 170:280].mean(axis=(0, 1))
    assert np.abs(face - face.mean()).max() < 8, "no cast of colour"
