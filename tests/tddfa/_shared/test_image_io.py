import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tddfa._shared import image_io, opencv_log
from tddfa._shared.image_io import ImageError


@pytest.fixture(scope="module", autouse=True)
def silent_opencv():
    """Silence OpenCV, as the command line does: errors are in the exception."""
    with opencv_log.silent():
        yield


@pytest.fixture(scope="module")
def photo(astronaut):
    """A small BGR image without symmetry."""
    return cv2.resize(astronaut[40:280, 100:340], (96, 64), interpolation=cv2.INTER_AREA)


def pil(bgr):
    return Image.fromarray(np.ascontiguousarray(bgr[..., ::-1]))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_bgr(image):
    return np.asarray(image.convert("RGB"))[..., ::-1]


def refused(tmp_path, data, name="broken.bin"):
    """The error message for a file with this content, without the path; it is one line."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        image_io.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def png_that_claims(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def jpeg_with_thumbnail(photo):
    """A JPEG whose EXIF holds another JPEG, with an end marker of its own."""
    thumbnail = encoded(pil(photo[::4, ::4]), "JPEG")
    entries = ((0x0103, 3, 6), (0x0201, 4, 8 + 6 + 42), (0x0202, 4, len(thumbnail)))
    first = struct.pack("<HI", 0, 8 + 6)  # no entry, then where the second directory lies
    second = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    tiff = b"II*\0" + struct.pack("<I", 8) + first + second + struct.pack("<I", 0) + thumbnail
    payload = b"Exif\0\0" + tiff
    whole = encoded(pil(photo), "JPEG")
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + whole[2:]


LOSSLESS = {
    "PNG": {}, "BMP": {}, "TIFF": {}, "PPM": {}, "JPEG2000": {}, "WEBP": {"lossless": True, "exact": True},
}  # fmt: skip


class TestWhatIsRead:
    @pytest.mark.parametrize("kind", LOSSLESS)
    def test_lossless(self, tmp_path, photo, kind):
        path = tmp_path / "x"  # the content says what it is, not the name
        path.write_bytes(encoded(pil(photo), kind, **LOSSLESS[kind]))
        image = image_io.read(path)
        np.testing.assert_array_equal(image, photo)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image_io.read(str(path)), photo)

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
    def test_jpeg(self, photo, options):
        data = encoded(pil(photo), "JPEG", quality=95, subsampling=0, **options)
        assert np.abs(image_io.decode(data, "x").astype(int) - photo).mean() < 2
        np.testing.assert_allclose(image_io.decode(data, "x"), as_bgr(Image.open(io.BytesIO(data))), atol=1)

    @pytest.mark.parametrize("size", [(1, 1), (20, 20000), (20000, 20)])
    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
    def test_odd_sizes(self, size, suffix):
        across = np.linspace(0, 250, size[1])[None, :, None] + np.linspace(0, 5, size[0])[:, None, None]
        image = np.broadcast_to(across, (*size, 3)).astype(np.uint8)
        read = image_io.decode(cv2.imencode(suffix, image)[1].tobytes(), "x")
        np.testing.assert_allclose(read, image, atol=3 if suffix == ".jpg" else 0)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG2000", "PPM"])
    def test_grey(self, photo, kind):
        grey = pil(photo).convert("L")
        np.testing.assert_array_equal(image_io.decode(encoded(grey, kind), "x"), as_bgr(grey))

    def test_grey_floats(self, tmp_path):
        levels = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
        cv2.imwrite(str(tmp_path / "grey.pfm"), levels)
        image = image_io.read(tmp_path / "grey.pfm")
        assert image.shape == (4, 6, 3)
        np.testing.assert_allclose(image[..., 1], 255 * levels, atol=0.51)

    def test_grey_jpeg(self, photo):
        image = image_io.decode(encoded(pil(photo).convert("L"), "JPEG", quality=98), "x")
        assert (np.ptp(image, axis=-1) == 0).all()
        assert np.abs(image[..., 0].astype(int) - np.asarray(pil(photo).convert("L"))).mean() < 2

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG2000", "TIFF"])
    def test_an_alpha_channel_is_dropped(self, photo, rng, kind):
        image = pil(photo)
        image.putalpha(Image.fromarray(rng.integers(0, 255, photo.shape[:2], dtype=np.uint8)))
        np.testing.assert_array_equal(image_io.decode(encoded(image, kind, **LOSSLESS[kind]), "x"), photo)

    def test_grey_with_alpha(self, photo):
        grey = pil(photo).convert("L")
        image = grey.copy()
        image.putalpha(100)
        assert image.mode == "LA"
        np.testing.assert_array_equal(image_io.decode(encoded(image, "PNG"), "x"), as_bgr(grey))

    @pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
    def test_palette(self, photo, kind):
        image = pil(photo).quantize(32)
        np.testing.assert_array_equal(image_io.decode(encoded(image, kind), "x"), as_bgr(image))

    def test_palette_with_a_transparent_entry(self, photo):
        image = pil(photo).quantize(32)
        np.testing.assert_array_equal(image_io.decode(encoded(image, "PNG", transparency=3), "x"), as_bgr(image))

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
    def test_one_bit(self, photo, kind):
        image = pil(photo).convert("1")
        np.testing.assert_array_equal(image_io.decode(encoded(image, kind), "x"), as_bgr(image))

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
    def test_16_bit(self, photo, suffix):
        deep = photo.astype(np.uint16) * 257
        np.testing.assert_array_equal(image_io.decode(cv2.imencode(suffix, deep)[1].tobytes(), "x"), photo)
        grey = deep[..., 1].copy()
        read = image_io.decode(cv2.imencode(suffix.replace("ppm", "pgm"), grey)[1].tobytes(), "x")
        np.testing.assert_array_equal(read, np.repeat(photo[..., 1:2], 3, axis=-1))

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, photo, kind):
        data = encoded(pil(photo).convert("CMYK"), kind, **({"quality": 98} if kind == "JPEG" else {}))
        image = image_io.decode(data, "x")
        np.testing.assert_allclose(image, as_bgr(Image.open(io.BytesIO(data))), atol=2)
        assert np.abs(image.astype(int) - photo).mean() < 4

    # EXIF's orientation: how the stored image is turned to be seen upright
    UPRIGHT = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: lambda a: np.rot90(a, 1),
    }

    @pytest.mark.parametrize("orientation", UPRIGHT)
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_the_exif_orientation_is_applied(self, photo, orientation, kind):
        exif = Image.Exif()
        exif[0x112] = orientation
        options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else LOSSLESS[kind]
        image = image_io.decode(encoded(pil(photo), kind, exif=exif, **options), "x")
        expected = self.UPRIGHT[orientation](photo)
        assert image.shape == expected.shape
        assert image.flags.c_contiguous
        if kind == "JPEG":
            assert np.abs(image.astype(int) - expected).mean() < 2
        else:
            np.testing.assert_array_equal(image, expected)

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
    def test_the_first_of_several_images_is_read(self, photo, kind):
        first, second = pil(photo).quantize(32), pil(photo[::-1]).quantize(32)
        if kind == "WEBP":
            first, second = first.convert("RGB"), second.convert("RGB")
        data = encoded(first, kind, save_all=True, append_images=[second], **LOSSLESS.get(kind, {}))
        assert Image.open(io.BytesIO(data)).n_frames == 2
        np.testing.assert_array_equal(image_io.decode(data, "x"), as_bgr(first))

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF"])
    def test_bytes_after_the_image_are_ignored(self, photo, kind):
        data = encoded(pil(photo), kind)
        np.testing.assert_array_equal(image_io.decode(data + bytes(1000), "x"), image_io.decode(data, "x"))

    def test_a_video_after_a_jpeg_is_ignored(self, photo):
        # phones append the seconds around a photo; in megabytes of video any two bytes turn up
        data = encoded(pil(photo), "JPEG")
        video = b"\0\0\0\x18ftypmp42" + bytes(50) + b"\xff\xd9" + bytes(50) + b"\xff\xda" + bytes(50)
        np.testing.assert_array_equal(image_io.decode(data + video, "x"), image_io.decode(data, "x"))

    def test_a_thumbnail_in_exif_is_not_the_image(self, photo):
        data = jpeg_with_thumbnail(photo)
        assert data.count(b"\xff\xd8\xff") == 2
        np.testing.assert_array_equal(image_io.decode(data, "x"), image_io.decode(encoded(pil(photo), "JPEG"), "x"))


class TestWhatIsRefused:
    def test_missing(self, tmp_path):
        path = tmp_path / "nobody.jpg"
        with pytest.raises(ImageError) as caught:
            image_io.read(path)
        assert str(caught.value) == f"{path}: no such file"

    @pytest.mark.parametrize("kind", [str, Path])
    def test_url(self, kind):
        with pytest.raises(ImageError, match=r"^https://example\.com/a\.jpg: expected a file, got a URL; download it$"):
            image_io.read(kind("https://example.com/a.jpg"))

    def test_folder(self, tmp_path):
        with pytest.raises(ImageError) as caught:
            image_io.read(tmp_path)
        assert str(caught.value) == f"{tmp_path}: expected an image, got a folder"

    def test_a_path_through_a_file(self, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(ImageError, match=r"file/x\.jpg: cannot be read: .*irectory"):
            image_io.read(tmp_path / "file" / "x.jpg")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
    def test_unreadable(self, tmp_path):
        path = tmp_path / "secret.jpg"
        path.write_bytes(b"x")
        path.chmod(0)
        with pytest.raises(ImageError, match=r"secret\.jpg: cannot be read: Permission denied"):
            image_io.read(path)

    def test_empty(self, tmp_path):
        assert refused(tmp_path, b"") == "the file is empty"

    @pytest.mark.parametrize(
        "data",
        [
            b"hello\n",
            b"%PDF-1.4\n",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            bytes(500),
            b"\xff\xd8",
            b"\x89PNG",
        ],
    )
    def test_not_an_image(self, tmp_path, data):
        assert refused(tmp_path, data, "photo.jpg") == "not an image"
        assert refused(tmp_path, data, "clip.MP4").startswith("not an image; for a video, use tddfa video")

    @pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6, 0.9, 0.999])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_truncated_jpeg(self, tmp_path, photo, share, progressive):
        data = encoded(pil(photo), "JPEG", progressive=progressive)
        assert "truncated" in (message := refused(tmp_path, data[: int(len(data) * share)])) or "damaged" in message

    @pytest.mark.parametrize("missing", [1, 2, 3, 50])
    def test_jpeg_without_its_end(self, tmp_path, photo, missing):
        data = encoded(pil(photo), "JPEG")
        assert refused(tmp_path, data[:-missing]) == "the file is truncated: the JPEG has no end marker"

    def test_jpeg_truncated_after_the_end_of_its_thumbnail(self, tmp_path, photo):
        data = jpeg_with_thumbnail(photo)
        thumbnails_end = data.find(b"\xff\xd9") + 2
        assert thumbnails_end < len(data) // 2
        scan = data.rfind(b"\xff\xda")
        for end in (thumbnails_end, thumbnails_end + 30, scan - 1, scan + 2, scan + 100, len(data) - 2):
            message = refused(tmp_path, data[:end])
            assert any(words in message for words in ("truncated", "damaged", "not an image"))

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM"])
    def test_truncated_files_of_other_formats(self, tmp_path, photo, kind, capfd):
        data = encoded(pil(photo), kind)
        for end in (
            int(len(data) * 0.1),
            len(data) // 2,
            int(len(data) * 0.9),
            len(data) - 20,
            len(data) - 2,
        ):
            message = refused(tmp_path, data[:end])
            assert any(words in message for words in ("truncated", "damaged", "not an image"))
        assert capfd.readouterr().err == ""  # the exception says all; a decoder that writes to stderr doubles it

    def test_png_with_a_damaged_middle(self, tmp_path, photo, capfd):
        data = bytearray(encoded(pil(photo), "PNG"))
        data[len(data) // 2] ^= 0xFF
        assert "damaged" in refused(tmp_path, bytes(data))
        assert capfd.readouterr().err == ""

    def test_tiff_with_a_damaged_middle(self, tmp_path, photo):
        data = bytearray(encoded(pil(photo), "TIFF", compression="tiff_lzw"))
        middle = len(data) // 2
        data[middle : middle + 500] = 500 * b"\xff"
        assert "damaged" in refused(tmp_path, bytes(data))  # OpenCV would give black rows

    @pytest.mark.parametrize("transparency", [3, bytes(range(256))])
    def test_a_palette_with_transparency(self, photo, transparency):
        image = pil(photo).quantize(64)
        expected = image_io.from_pillow(image, "x")
        image.info["transparency"] = transparency
        np.testing.assert_array_equal(image_io.from_pillow(image, "x"), expected)

    def test_truncated_lossless_webp(self, tmp_path, photo):
        data = encoded(pil(photo), "WEBP", lossless=True)
        assert "damaged" in refused(tmp_path, data[: len(data) // 2])

    TOO_MANY = f"expected at most {image_io.MAX_PIXELS // 10**6} million pixels, got "

    @pytest.mark.parametrize("size", [(60000, 60000), (2**31 - 1, 2**31 - 1), (20001, 10000)])
    def test_a_header_that_claims_too_much(self, tmp_path, size, monkeypatch):
        monkeypatch.setattr(cv2, "imdecode", None)  # refused before it is decoded
        assert refused(tmp_path, png_that_claims(*size)).startswith(self.TOO_MANY)

    def test_other_headers_that_claim_too_much(self, tmp_path, photo, monkeypatch):
        monkeypatch.setattr(cv2, "imdecode", None)
        gif, bmp, jpeg = (bytearray(encoded(pil(photo), kind)) for kind in ("GIF", "BMP", "JPEG"))
        gif[6:10] = struct.pack("<HH", 60000, 60000)
        bmp[18:26] = struct.pack("<ii", 60000, 60000)
        frame = jpeg.find(b"\xff\xc0") + 5
        jpeg[frame : frame + 4] = struct.pack(">HH", 60000, 60000)
        for data in (gif, bmp, jpeg):
            assert refused(tmp_path, bytes(data)).startswith(self.TOO_MANY)

    def test_the_message_has_the_limit(self, tmp_path):
        side = int(np.sqrt(image_io.MAX_PIXELS))
        assert not refused(tmp_path, png_that_claims(side, side)).startswith(self.TOO_MANY)
        assert refused(tmp_path, png_that_claims(side + 1, side + 1)).startswith(self.TOO_MANY)

    def test_a_file_of_many_bytes(self, tmp_path, monkeypatch):
        monkeypatch.setattr(image_io, "_MAX_BYTES", 3 << 20)
        assert refused(tmp_path, bytes(5 << 20)) == "expected a file of at most 3 MiB, got 5 MiB"

    def test_nothing_is_printed_besides_the_exception(self, tmp_path, photo, capfd):
        refused(tmp_path, encoded(pil(photo), "PNG")[:200])
        refused(tmp_path, encoded(pil(photo), "JPEG")[:700])
        captured = capfd.readouterr()
        assert captured.out == captured.err == ""


class TestWriting:
    @pytest.mark.parametrize(
        ("suffix", "kind", "tolerance"),
        [
            (".png", "PNG", 0),
            (".bmp", "BMP", 0),
            (".tif", "TIFF", 0),
            (".jpg", "JPEG", 3),
            (".webp", "WEBP", 4),
        ],
    )
    def test_the_suffix_determines_the_format(self, tmp_path, photo, suffix, kind, tolerance):
        path = image_io.write(tmp_path / "made" / f"x{suffix}", photo)
        assert path == tmp_path / "made" / f"x{suffix}"
        with Image.open(path) as image:
            assert image.format == kind
        assert np.abs(image_io.read(path).astype(int) - photo).mean() <= tolerance
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
    def test_opencv_prints_no_warning(self, tmp_path, photo, suffix, capfd):
        with opencv_log.silent():  # restores the level
            opencv_log._LOG.setLogLevel(3)  # warnings
            image_io.write(tmp_path / f"x{suffix}", photo)
        assert capfd.readouterr().err == ""

    def test_grey_and_16_bit(self, tmp_path, photo):
        image_io.write(tmp_path / "grey.png", photo[..., 0].copy())
        with Image.open(tmp_path / "grey.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), photo[..., 0])
        deep = photo[..., 0].astype(np.uint16) * 250 + 7
        image_io.write(tmp_path / "deep.png", deep)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "deep.png"), cv2.IMREAD_UNCHANGED), deep)

    def test_strided_and_read_only(self, tmp_path, photo):
        view = photo[::-1, ::2]
        view.setflags(write=False)
        np.testing.assert_array_equal(image_io.read(image_io.write(tmp_path / "x.png", view)), view)

    def test_an_old_file_is_replaced(self, tmp_path, photo):
        (tmp_path / "x.png").write_text("old")
        image_io.write(str(tmp_path / "x.png"), photo)
        np.testing.assert_array_equal(image_io.read(tmp_path / "x.png"), photo)

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("x.jpg", (2, 65536, 3)),
            ("x.jpg", (65536, 2, 3)),
            ("x.webp", (2, 16384, 3)),
            ("x.txt", (2, 2, 3)),
            ("x", (2, 2, 3)),
        ],
    )
    def test_images_that_a_format_cannot_store(self, tmp_path, name, shape, capfd):
        with pytest.raises(ValueError, match=rf"{name}: .*cannot be written as '{(tmp_path / name).suffix}'") as caught:
            image_io.write(tmp_path / name, np.zeros(shape, np.uint8))
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr().err == ""

    def test_a_refused_image_leaves_the_old_file(self, tmp_path):
        (tmp_path / "x.jpg").write_text("old")
        with pytest.raises(ValueError, match=r"x\.jpg"):
            image_io.write(tmp_path / "x.jpg", np.zeros((1, 65536, 3), np.uint8))
        assert (tmp_path / "x.jpg").read_text() == "old"

    def test_the_largest_jpeg(self, tmp_path):
        image = np.broadcast_to(np.linspace(0, 255, 65500)[None, :, None], (2, 65500, 3)).astype(np.uint8)
        read = image_io.read(image_io.write(tmp_path / "x.jpg", image))
        np.testing.assert_allclose(read, image, atol=2)

    def test_an_empty_image(self, tmp_path):
        with pytest.raises(ValueError, match=r"x\.png"):
            image_io.write(tmp_path / "x.png", np.zeros((0, 3, 3), np.uint8))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(image_io.ImageError, match=r"x\.jpg: expected a file, got a pipe$"):
        image_io.read(tmp_path / "x.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_lower_limit_of_pixels(suffix, monkeypatch):
    data = cv2.imencode(suffix, np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    assert image_io.decode(data, "x", max_pixels=600).shape == (20, 30, 3)
    monkeypatch.setattr(image_io, "_pixels", None)  # nothing is decoded
    with pytest.raises(image_io.ImageSizeError, match=r"^x: expected at most 0 million pixels, got 30 x 20"):
        image_io.decode(data, "x", max_pixels=599)
