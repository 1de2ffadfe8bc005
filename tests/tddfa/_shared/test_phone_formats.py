import io
import struct
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, features

from tddfa._shared import image_io, phone_formats
from tddfa._shared.image_io import ImageError
from tddfa.geometry.intrinsics import Intrinsics

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="needs Pillow 11.3 or later, with AVIF")


def box(main, *others):
    """First box of a file of the HEIF family."""
    brands = main + bytes(4) + b"".join(others)
    return struct.pack(">I", len(brands) + 8) + b"ftyp" + brands


def avif(bgr, **options):
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(bgr[..., ::-1])).save(buffer, "AVIF", quality=95, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photo(astronaut):
    return cv2.resize(astronaut[40:280, 100:340], (96, 64), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (box(b"heic", b"mif1", b"heic"), "HEIC"),
        (box(b"hevx"), "HEIC"),
        (box(b"mif1", b"miaf", b"heic"), "HEIC"),
        (box(b"avif", b"mif1"), "AVIF"),
        (box(b"mif1", b"avif", b"miaf"), "AVIF"),
        (box(b"isom", b"mp41"), None),
        (box(b"mif1"), None),
        (b"\xff\xd8\xff\xe0", None),
        (b"", None),
        (struct.pack(">I", 2**32 - 1) + b"ftypmif1", None),
    ],
)
def test_the_format_follows_from_the_brands(data, kind):
    assert phone_formats.format_of(data) == kind


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".HEIF", ".hif"])
def test_folders_have_them(suffix):
    assert suffix.lower() in image_io.SUFFIXES


def test_without_the_package_the_line_names_format_and_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError) as caught:
        image_io.decode(box(b"heic"), "x.heic")
    assert str(caught.value) == "x.heic: HEIC needs pi-heif: pip install pi-heif"


def test_an_old_pillow_is_named(monkeypatch):
    monkeypatch.delitem(features.modules, "avif", raising=False)
    with pytest.raises(ImageError, match=r"^x: AVIF needs pillow>=11\.3: pip install 'pillow>=11\.3'$"):
        image_io.decode(box(b"avif"), "x")


@needs_avif
class TestAvif:
    def test_it_is_read_whatever_its_name(self, tmp_path, photo):
        (tmp_path / "x.jpg").write_bytes(avif(photo))
        image = image_io.read(tmp_path / "x.jpg")
        assert image.shape == photo.shape
        assert image.flags.c_contiguous
        assert np.abs(image.astype(int) - photo).mean() < 4

    def test_the_rotation_is_applied(self, photo):
        exif = Image.Exif()
        exif[0x112] = 6
        image = image_io.decode(avif(photo, exif=exif), "x")
        assert np.abs(image.astype(int) - np.rot90(photo, -1)).mean() < 4

    @pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
    def test_truncated(self, photo, part, capfd):
        data = avif(photo)
        with pytest.raises(ImageError, match=r"^x: the ((AVIF|HEIC) )?file is damaged"):
            image_io.decode(data[: int(len(data) * part)], "x")
        assert capfd.readouterr().err == ""

    def test_the_size_is_checked_before_pixels_are_decoded(self, photo, monkeypatch):
        monkeypatch.setattr(image_io, "MAX_PIXELS", 10**3)
        monkeypatch.setattr(image_io, "_decode_with_pillow", None)
        with pytest.raises(ImageError, match=r"^x: expected at most 0 million pixels, got 96 x 64"):
            image_io.decode(avif(photo), "x")


class TestHeic:
    """Nothing here can write HEIC, so a file of the shared material is read."""

    @pytest.fixture
    def phone(self, cases):
        pytest.importorskip("pi_heif", reason="needs the package pi-heif")
        return cases / "phone.heic"

    def test_it_is_read(self, phone):
        image = image_io.read(phone)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.std() > 30
        assert image.flags.c_contiguous

    @pytest.mark.parametrize("part", [0.02, 0.3, 0.99])
    def test_truncated(self, phone, part, capfd):
        data = phone.read_bytes()
        with pytest.raises(ImageError, match=r"^x: the ((AVIF|HEIC) )?file is damaged"):
            image_io.decode(data[: int(len(data) * part)], "x")
        assert capfd.readouterr().err == ""

    def test_the_size_is_checked_before_pixels_are_decoded(self, phone, monkeypatch):
        monkeypatch.setattr(image_io, "MAX_PIXELS", 10**3)
        monkeypatch.setattr(image_io, "_decode_with_pillow", None)
        with pytest.raises(ImageError, match="expected at most 0 million pixels"):
            image_io.read(phone)

    def test_the_error_about_exif_names_what_is_missing(self, phone):
        with pytest.raises(ValueError, match="no focal length"):
            Intrinsics.from_exif(phone)
