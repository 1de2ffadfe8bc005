"""`tddfa.read_image`: paths, Pillow images and arrays give the same BGR pixels."""

import io
import sys
from types import ModuleType

import cv2
import numpy as np
import PIL.Image
import pytest

import tddfa


@pytest.fixture
def photo(rng):
    return rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)


def pillow(bgr):
    return PIL.Image.fromarray(np.ascontiguousarray(bgr[..., ::-1]))


class TestArrays:
    def test_bgr_is_returned_as_it_is(self, photo):
        assert tddfa.read_image(photo) is photo

    @pytest.mark.parametrize("prepare", [np.ascontiguousarray, lambda rgb: rgb], ids=["contiguous", "view"])
    def test_rgb_is_converted(self, photo, prepare):
        image = tddfa.read_image(prepare(photo[..., ::-1]), color="rgb")
        np.testing.assert_array_equal(image, photo)
        assert image.flags.c_contiguous
        assert image.flags.writeable

    @pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), None, 3.5])
    def test_others_are_refused(self, bad):
        for color in ("bgr", "rgb"):
            with pytest.raises((TypeError, ValueError), match="image: expected"):
                tddfa.read_image(bad, color=color)

    @pytest.mark.parametrize(
        ("change", "hint"),
        [
            (lambda photo: photo[..., 0], "give cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"),
            (lambda photo: photo[..., :1], "give cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"),
            (lambda photo: np.dstack([photo, photo[..., 0]]), "give cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)"),
            (lambda photo: photo.transpose(2, 0, 1), "give image.transpose(1, 2, 0)"),
            (lambda photo: photo / 255, "give (255 * image).astype(np.uint8)"),
        ],
    )
    def test_messages_tell_how_other_layouts_become_bgr(self, photo, change, hint):
        with pytest.raises((TypeError, ValueError)) as caught:
            tddfa.read_image(change(photo))
        assert str(caught.value).endswith(hint)


class TestBytes:
    """The bytes of an image file, and files that are open."""

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
    def test_they_are_decoded(self, photo, kind):
        data = cv2.imencode(".png", photo)[1].tobytes()
        np.testing.assert_array_equal(tddfa.read_image(kind(data)), photo)

    def test_a_file_is_read_from_where_it_is(self, photo, tmp_path):
        (tmp_path / "a.bin").write_bytes(b"header" + cv2.imencode(".png", photo)[1].tobytes())
        with (tmp_path / "a.bin").open("rb") as file:
            file.seek(6)
            np.testing.assert_array_equal(tddfa.read_image(file), photo)

    @pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff\xe0 truncated"])
    def test_other_bytes_are_refused(self, data):
        for source in (data, io.BytesIO(data)):
            with pytest.raises(tddfa.TddfaError, match=r"^image: "):
                tddfa.read_image(source)

    def test_a_file_of_text_is_refused(self):
        with pytest.raises(TypeError, match="image: expected a file opened in binary mode, got one that gives str"):
            tddfa.read_image(io.StringIO("a"))

    def test_more_than_can_be_read_is_refused(self, photo, monkeypatch):
        monkeypatch.setattr("tddfa._shared.image_io._MAX_BYTES", 1 << 20)
        with pytest.raises(tddfa.TddfaError, match="image: expected a file of at most 1 MiB, got more"):
            tddfa.read_image(io.BytesIO(bytes((1 << 20) + 1)))


class TestFiles:
    @pytest.mark.parametrize("kind", [str, lambda path: path])
    def test_the_color_of_arrays_has_no_effect(self, tmp_path, photo, kind):
        path = tmp_path / "photo.png"
        cv2.imwrite(str(path), photo)
        for color in ("bgr", "rgb"):
            np.testing.assert_array_equal(tddfa.read_image(kind(path), color=color), photo)

    def test_a_missing_one_is_named(self, tmp_path):
        with pytest.raises(tddfa.TddfaError, match=r"nothing\.jpg: no such file"):
            tddfa.read_image(tmp_path / "nothing.jpg")

    def test_a_page(self, tmp_path, photo):
        path = tmp_path / "pages.tif"
        pillow(photo).save(path, save_all=True, append_images=[pillow(photo[::-1])])
        np.testing.assert_array_equal(tddfa.read_image(path, page=2), photo[::-1])
        with pytest.raises(ValueError, match="page: expected None for an image that is not a file, got 2"):
            tddfa.read_image(photo, page=2)


class TestPillowImages:
    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "I;16"])
    @pytest.mark.parametrize("orientation", [1, 3, 6])
    def test_a_tiff_with_an_orientation_is_upright(self, tmp_path, photo, mode, orientation):
        grey = np.ascontiguousarray(photo[..., 0])
        stored = PIL.Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else pillow(photo).convert(mode)
        exif = PIL.Image.Exif()
        exif[0x112] = orientation
        stored.save(tmp_path / "a.tif", exif=exif)
        expected = tddfa.read_image(tmp_path / "a.tif")
        assert expected.shape == ((30, 20, 3) if orientation == 6 else (20, 30, 3))
        with PIL.Image.open(tmp_path / "a.tif") as opened:
            # CMYK has more than one way to BGR
            np.testing.assert_allclose(tddfa.read_image(opened), expected, atol=2)
            assert opened.filename == str(tmp_path / "a.tif")

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "P", "PA"])
    def test_colours(self, photo, mode):
        # colours of the web palette, which a conversion to a palette takes
        flat = (photo // 51 * 51).astype(np.uint8)
        image = pillow(flat)
        for step in {"RGBa": ["RGBA", "RGBa"], "PA": ["P", "PA"]}.get(mode, [mode]):
            image = image.convert(step)
        tolerance = {"YCbCr": 3, "HSV": 6, "P": 51, "PA": 51}.get(mode, 0)
        np.testing.assert_allclose(tddfa.read_image(image).astype(int), flat, atol=tolerance)

    @pytest.mark.parametrize("mode", ["L", "LA", "La", "1"])
    def test_grey(self, photo, mode):
        levels = np.where(photo[..., 0] > 127, 255, 0).astype(np.uint8)
        image = PIL.Image.fromarray(levels)
        for step in {"La": ["LA", "La"]}.get(mode, [mode]):
            image = image.convert(step)
        np.testing.assert_array_equal(tddfa.read_image(image), np.repeat(levels[..., None], 3, axis=2))

    @pytest.mark.parametrize(
        ("kind", "white"), [(np.uint16, 257), ("<u2", 257), (">u2", 257), (np.int32, 257), (np.float32, 1 / 255)]
    )
    def test_more_than_8_bits(self, photo, kind, white):
        levels = photo[..., 0].copy()
        levels[0, 0] = 255
        image = PIL.Image.fromarray((levels.astype(np.float64) * white).astype(kind))
        np.testing.assert_array_equal(tddfa.read_image(image), np.repeat(levels[..., None], 3, axis=2))

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_the_exif_orientation_is_applied_as_for_the_file(self, tmp_path, photo, orientation):
        image = pillow(photo)
        image.getexif()[0x0112] = orientation
        path = tmp_path / "turned.png"
        image.save(path, exif=image.getexif())
        turned = np.rot90(photo, {1: 0, 3: 2, 6: 3, 8: 1}[orientation])
        with PIL.Image.open(path) as opened:
            for source in (image, opened, path):
                np.testing.assert_array_equal(tddfa.read_image(source), turned)

    def test_a_palette_with_transparency_warns_of_nothing(self, photo):
        image = pillow(photo).quantize(8)
        image.info["transparency"] = bytes([0, 128, 255])
        assert tddfa.read_image(image).shape == photo.shape

    def test_one_that_cannot_be_loaded_is_named(self, tmp_path, photo):
        path = tmp_path / "damaged.png"
        pillow(photo).save(path)
        path.write_bytes(path.read_bytes()[:-400])
        with (
            PIL.Image.open(path) as image,
            pytest.raises(tddfa.TddfaError, match="image: Pillow cannot convert this image of mode RGB"),
        ):
            tddfa.read_image(image)


def test_another_thread_may_be_importing_pillow(photo, monkeypatch):
    """The module is there before its class is."""
    monkeypatch.setitem(sys.modules, "PIL.Image", ModuleType("PIL.Image"))
    assert tddfa.read_image(photo).shape == photo.shape
