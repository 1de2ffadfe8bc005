import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from tddfa._shared import image_io, tiff
from tddfa._shared.image_io import ImageError


def shades(count, **options):
    """A file of `count` pages; page k is k grey all over, and 10 + k px wide."""
    images = [Image.new("L", (10 + k, 8), k) for k in range(1, count + 1)]
    buffer = io.BytesIO()
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:], **options)
    return buffer.getvalue()


def with_tag(data, page, tag, value, name=None):
    """Give a tag of SHORT or LONG another value and, if it is given, another name, in a little-endian file."""
    at = tiff.pages(data)[page].offset
    changed = bytearray(data)
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<I", changed, entry + 8, value)
            struct.pack_into("<H", changed, entry, name or tag)
            return bytes(changed)
    raise AssertionError(f"no tag {tag}")


def encoded(array):
    done, data = cv2.imencode(".tif", array)
    assert done
    return data.tobytes()


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}])
def test_pages_are_listed_and_read(options):
    data = shades(3, **options)
    assert [(page.width, page.height, page.samples, page.bits) for page in tiff.pages(data)] == [
        (11, 8, 1, 8), (12, 8, 1, 8), (13, 8, 1, 8),
    ]  # fmt: skip
    for page in (1, 2, 3):
        image = image_io.decode(data, "x", page=page)
        assert image.shape == (8, 10 + page, 3)
        assert (image == page).all()


def test_big_endian():
    pages = struct.pack(">2sHIH", b"MM", 42, 8, 2)
    pages += struct.pack(">HHIHH", 256, 3, 1, 70, 0) + struct.pack(">HHII", 257, 4, 1, 90) + struct.pack(">I", 0)
    assert [(page.width, page.height) for page in tiff.pages(pages)] == [(70, 90)]


@pytest.mark.parametrize("page", [0, -1, 3])
def test_a_page_that_is_not_there(page):
    with pytest.raises(ImageError, match=rf"^x: expected a page from 1 to 2, got {page}$"):
        image_io.decode(shades(2), "x", page=page)


def test_other_formats_have_one_page(tmp_path, astronaut):
    path = image_io.write(tmp_path / "x.png", astronaut[:20, :20])
    assert image_io.page_count(path) == 1
    np.testing.assert_array_equal(image_io.read(path, page=1), astronaut[:20, :20])
    with pytest.raises(ImageError, match="expected a page from 1 to 1, got 2"):
        image_io.read(path, page=2)


def test_a_warning_says_which_page_is_read(tmp_path, caplog):
    path = tmp_path / "x.tif"
    path.write_bytes(shades(2))
    assert image_io.page_count(path) == 2
    assert (image_io.read(path) == 1).all()
    assert [record.message for record in caplog.records] == [
        f"{path}: page 1 of 2 is read; page=N or --page N reads another"
    ]
    caplog.clear()
    image_io.read(path, page=1)
    image_io.decode(shades(1), "x")
    assert not caplog.records


@pytest.mark.parametrize("kind", [1, 4])
def test_thumbnails_and_masks_are_no_pages(kind, caplog):
    # another tag of the same type becomes that of the kind of page
    data = with_tag(shades(3), 0, 278, kind, name=254)
    assert len(tiff.pages(data)) == 2
    assert (image_io.decode(data, "x", page=1) == 2).all()


def test_a_thumbnail_alone_is_read():
    assert (image_io.decode(with_tag(shades(1), 0, 278, 1, name=254), "x") == 1).all()


def test_a_circle_of_pages_ends():
    data = bytearray(shades(2))
    first, second = (page.offset for page in tiff.pages(bytes(data)))
    count = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * count, first)
    assert len(tiff.pages(bytes(data))) == 2


@pytest.mark.parametrize("length", [0, 3, 8, 15, 16, 60, 140])
def test_damaged_directories_end_the_list(length):
    assert len(tiff.pages(shades(3)[:length])) <= 1


def test_random_bytes_give_no_error(rng):
    whole = np.frombuffer(shades(3), np.uint8)
    for _ in range(300):
        data = whole.copy()
        data[rng.integers(4, len(data), 8)] = rng.integers(0, 256, 8)
        for page in tiff.pages(data.tobytes()):
            assert isinstance(page.byte_count, int)


def test_the_size_of_the_chosen_page_is_checked(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)
    data = with_tag(with_tag(shades(2), 1, 256, 60000), 1, 257, 60000)
    with pytest.raises(ImageError, match=r"^x: expected at most \d+ million pixels, got "):
        image_io.decode(data, "x", page=2)


def test_the_bytes_of_deep_pixels_are_checked(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)
    data = with_tag(with_tag(encoded(np.zeros((8, 8, 3), np.float64)), 0, 256, 13000), 0, 257, 13000)
    with pytest.raises(ImageError, match=r"^x: expected at most 2048 MiB of pixels, got 3868 MiB$"):
        image_io.decode(data, "x")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_float(astronaut, dtype, channels):
    photo = astronaut[100:140, 100:160]
    image = np.dstack([photo, photo[..., :1]])[..., :channels].astype(dtype) / 255
    read = image_io.decode(encoded(image), "x")
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, photo if channels > 1 else np.repeat(photo[..., :1], 3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_floats_is_that_of_other_images(astronaut, orientation):
    photo = astronaut[100:140, 100:160]
    exif = Image.Exif()
    exif[0x112] = orientation
    files = []
    for image in (Image.fromarray(photo[..., 0].copy()), Image.fromarray(photo[..., 0].astype(np.float32))):
        buffer = io.BytesIO()
        image.save(buffer, "TIFF", exif=exif)
        files.append(image_io.decode(buffer.getvalue(), "x"))
    np.testing.assert_array_equal(*files)


def test_files_that_failed_before(cases, caplog):
    assert image_io.read(cases / "gray_12bit_in_16bit.png").max() > 200
    assert image_io.read(cases / "gray_float32.tif").max() > 200
    assert image_io.read(cases / "two_pages.tif", page=2).ndim == 3
    assert len(caplog.records) == 1


def test_numbers_of_many_bytes_count_in_the_limit_of_a_caller():
    """A compressed file of a megabyte may hold gigabytes within the limit of pixels."""
    single, double = (encoded(np.zeros((100, 100, 3), kind)) for kind in (np.uint16, np.float64))
    assert image_io.decode(single, "a.tif", max_pixels=10_000).shape == (100, 100, 3)
    assert image_io.decode(double, "a.tif").shape == (100, 100, 3)
    with pytest.raises(image_io.ImageSizeError, match=r"a\.tif: expected at most .* of pixels"):
        image_io.decode(double, "a.tif", max_pixels=10_000)
