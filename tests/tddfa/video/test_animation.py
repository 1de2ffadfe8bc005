"""Animated images, and the pages of a TIFF."""

import time

import numpy as np
import pytest
from PIL import Image

from builders_video import moving_square
from tddfa._shared import image_io
from tddfa.video import VideoError, frames, open_source


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animated_images(tmp_path, suffix):
    pictures = [Image.fromarray(np.ascontiguousarray(moving_square(i)[..., ::-1])) for i in range(5)]
    path = tmp_path / f"x{suffix}"
    more = {"lossless": True} if suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 50, 200, 100, 100], **more)
    seen = list(frames(path))
    np.testing.assert_allclose([frame.time for frame in seen], [0, 0.1, 0.15, 0.35, 0.45], atol=1e-6)
    for frame in seen:
        assert np.abs(frame.image.astype(int) - moving_square(frame.index)).mean() < (9 if suffix == ".gif" else 0.1)


def test_the_pages_of_a_tiff_are_frames(tmp_path):
    pages = [Image.fromarray(np.ascontiguousarray(moving_square(i)[..., ::-1])) for i in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    with open_source(tmp_path / "x.tif") as reader:
        assert (reader.count, reader.size) == (3, (96, 64))
        read = list(reader)
    assert [frame.time for frame in read] == [0, 0.04, 0.08]
    for frame in read:
        np.testing.assert_array_equal(frame.image, moving_square(frame.index))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_one_page_is_an_image_like_any_other(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    picture = Image.fromarray(np.ascontiguousarray(moving_square(0)[..., ::-1]))
    picture.save(tmp_path / f"one{suffix}", exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    with open_source(tmp_path / f"one{suffix}") as reader:
        assert (reader.count, type(reader).__name__) == (1, "ImageFilesReader")
        (frame,) = reader
    np.testing.assert_array_equal(frame.image, np.rot90(moving_square(0), -1))


def test_a_page_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    pages = [Image.new("RGB", (8, 8)), Image.new("RGB", (80, 60))]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    monkeypatch.setattr(image_io, "MAX_PIXELS", 100)
    with open_source(tmp_path / "x.tif") as reader, pytest.raises(VideoError, match="80 x 60"):
        list(reader)


@pytest.mark.parametrize(
    ("scale", "dtype", "warnings"), [(16, np.uint16, 1), (257, np.uint16, 0), (1 / 255, np.float32, 0)]
)
def test_pages_of_more_than_8_bits(tmp_path, astronaut, caplog, scale, dtype, warnings):
    """By the rule of photos, and with one warning, not one a page."""
    grey = astronaut[:64, :96, 0]
    pages = [Image.fromarray((page * float(scale)).astype(dtype)) for page in (grey, grey[::-1], grey[:, ::-1])]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    seen = [frame.image for frame in frames(tmp_path / "x.tif")]
    for image, expected in zip(seen, (grey, grey[::-1], grey[:, ::-1]), strict=True):
        assert np.abs(image - expected[..., None].astype(int)).max() <= 1
    assert len(caplog.records) == warnings


def test_a_canvas_that_no_image_can_have_is_refused_before_it_is_composed(cases):
    started = time.perf_counter()
    with pytest.raises(VideoError, match=r"\.webp: expected sides of at most 16383 px, got 1507424 x 96$"):
        open_source(cases / "wide_1507424x96.webp")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", [".tif", ".webp"])
def test_a_file_that_is_cut_short(tmp_path, caplog, suffix, cut):
    """Its whole frames are there, with a warning; without one, it is refused. Pillow's own errors never get out."""
    pages = [Image.fromarray(np.ascontiguousarray(moving_square(i)[..., ::-1])) for i in range(5)]
    path = tmp_path / f"x{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:], **({"lossless": True} if suffix == ".webp" else {}))
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    try:
        seen = list(frames(path))
    except VideoError as error:
        assert path.name in str(error)
    else:
        assert 0 < len(seen) < 5
