"""How a frame is shown: rotation, and the shape of its pixels."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from builders_video import flat_video, make_video
from tddfa._shared import image_io
from tddfa.video import VideoError, frames, open_source


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((1, 0, 0, 1), lambda image: image),
    ],
)
def test_the_display_rotation_is_applied(short_video, tmp_path, matrix, turn):
    data = bytearray(short_video.read_bytes())
    header = data.find(b"tkhd") + 4 + 40  # the matrix: a b u c d v x y w, in 16.16
    for at, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[header + 4 * at : header + 4 * at + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    straight = next(frames(short_video)).image
    with open_source(path) as reader:
        frame = next(iter(reader))
        assert reader.size == (frame.image.shape[1], frame.image.shape[0])
    np.testing.assert_array_equal(frame.image, turn(straight))
    assert frame.image.flags.c_contiguous


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(2), (192, 64)),
        (Fraction(8, 9), (96, 72)),
        (Fraction(16, 11), (140, 64)),
        (Fraction(1, 2), (96, 128)),
        (Fraction(1), (96, 64)),
        (Fraction(401, 400), (96, 64)),
    ],
)
def test_pixels_become_square(tmp_path, aspect, size):
    y, x = np.mgrid[:64, :96]
    planes = np.stack([16 + 2 * x + (y > 31), np.full_like(x, 128), np.full_like(x, 128)], axis=-1)
    with open_source(flat_video(tmp_path / "in.mp4", planes, "yuv420p", aspect)) as reader:
        assert reader.size == size
        [frame] = reader
    assert frame.image.shape == (size[1], size[0], 3)
    columns = frame.image.mean(axis=(0, 2))
    expected = (2 * (np.arange(size[0]) + 0.5) * 96 / size[0] - 0.5) * 255 / 219
    assert np.abs(columns - expected)[4:-4].max() < 3, "from edge to edge"


def test_pixels_become_square_before_the_display_rotation(tmp_path):
    path = make_video(tmp_path / "in.mp4", 1, aspect=Fraction(2))
    data = bytearray(path.read_bytes())
    header = data.find(b"tkhd") + 4 + 40
    for at, value in zip((0, 1, 3, 4), (0, 1, -1, 0), strict=True):
        data[header + 4 * at : header + 4 * at + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    (tmp_path / "turned.mp4").write_bytes(data)
    with open_source(tmp_path / "turned.mp4") as reader:
        assert reader.size == (64, 192)
        [frame] = reader
    [straight] = frames(path)
    np.testing.assert_array_equal(frame.image, np.rot90(straight.image, -1))


def test_an_impossible_aspect_of_pixels_is_ignored(tmp_path, caplog):
    planes = np.full((64, 96, 3), 128)
    path = flat_video(tmp_path / "in.mp4", planes, "yuv420p", Fraction(20))
    assert next(frames(path)).image.shape == (64, 96, 3)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: pixels with an aspect ratio of 20:1 are read as square"
    ]


def test_a_frame_that_is_too_large_with_square_pixels_is_refused(tmp_path, monkeypatch):
    path = flat_video(tmp_path / "in.mp4", np.full((64, 96, 3), 128), "yuv420p", Fraction(2))
    monkeypatch.setattr(image_io, "MAX_PIXELS", 96 * 64 + 1)
    with pytest.raises(VideoError, match="got 192 x 64"):
        open_source(path)


def test_an_anamorphic_video(cases, astronaut):
    """Half as wide as it should be shown, with the ratio in the container."""
    image = next(frames(cases / "anamorphic_sar2.mp4")).image
    assert image.shape == (384, 512, 3)
    expected = cv2.resize(astronaut, (512, 384), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(image - expected).mean() < 8
