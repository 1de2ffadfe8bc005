"""Images that are damaged, and boxes of any numbers: from the bytes of a file to faces."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image
import pytest

from builders import make_face_model
from builders_fuzz import is_taken, mutated, st
from tddfa import Aligner, CropRule, Decoder, Intrinsics
from tddfa._shared import image_io
from tddfa._shared.errors import TddfaError

pytestmark = pytest.mark.fuzz

RULE = CropRule(size=24, box_shift_y=0.1, box_scale=1.2, landmark_scale=1.5)
OPENCV = (".jpg", ".png", ".webp", ".bmp", ".tif", ".ppm", ".jp2")


def scripted(crops):
    """A regressor without a network: the camera follows from the crop's mean colour."""
    camera = np.tile(np.array([[3.0, 0, 0, 12], [0, -3, 0, 12], [0, 0, 3, 0]], np.float32), (len(crops), 1, 1))
    camera[:, 0, 3] += crops.reshape(len(crops), -1).mean(axis=1) / 255
    return {"camera": camera, "shape": np.zeros((len(crops), 2)), "expression": np.zeros((len(crops), 3))}


@pytest.fixture(scope="module")
def images():
    """Small images in many formats."""
    image = np.random.default_rng(5).integers(0, 256, (36, 40, 3), dtype=np.uint8)
    seeds = [cv2.imencode(suffix, image)[1].tobytes() for suffix in OPENCV]
    seeds.append(cv2.imencode(".png", image[..., 0].astype(np.uint16) * 257)[1].tobytes())
    for mode, format in (("P", "GIF"), ("CMYK", "JPEG"), ("LA", "PNG"), ("RGBA", "TIFF"), ("F", "TIFF")):
        buffer = io.BytesIO()
        orientation = PIL.Image.Exif()
        orientation[0x0112] = 6
        photo = PIL.Image.fromarray(image).convert("L" if mode in ("F", "LA") else "RGB").convert(mode)
        photo.save(buffer, format, **({"exif": orientation} if format == "JPEG" else {}))
        seeds.append(buffer.getvalue())
    return seeds


LIMITS = st.sampled_from((1e38, -1e38, 2**31, 1e-40))
NUMBERS = st.one_of(st.integers(-30, 60), st.floats(-1e6, 1e6), st.floats(), LIMITS)
BOXES = st.lists(st.lists(NUMBERS, min_size=4, max_size=5), max_size=3)


def test_from_a_file_to_faces(explored, images):
    aligner = Aligner(scripted, Decoder(make_face_model(), RULE), refine=1)

    def check(example):
        data, boxes = example
        decoded = []
        if not is_taken(lambda: decoded.append(image_io.decode(data, "i.jpg")), image_io.ImageError, "i.jpg"):
            return False
        (image,) = decoded
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        faces = []
        if not is_taken(lambda: faces.extend(aligner(image, boxes=boxes)), (TddfaError, TypeError, ValueError)):
            return False
        assert len(faces) <= len(boxes) and all(np.isfinite(face.landmarks).all() for face in faces)
        return True

    assert all(check((seed, [[2, 2, 18, 18]])) for seed in images)
    words = (b"\xff\xd8", b"\xff\xd9", b"IHDR", b"IEND", b"Exif\0\0", b"II*\0", b"MM\0*", b"RIFF", b"VP8L", b"\xff\xc0")
    explored(st.tuples(st.one_of(st.sampled_from(images), mutated(images, words)), BOXES), check)


def test_the_camera_of_a_photo(tmp_path, explored, images):
    block = PIL.Image.Exif()
    block[0x0112] = 6
    block.get_ifd(0x8769).update({0x920A: 35.0, 0xA405: 50, 0xA20E: 300.0, 0xA210: 2})
    seeds = []
    for format in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        PIL.Image.new("RGB", (24, 20)).save(buffer, format, exif=block)
        seeds.append(buffer.getvalue())

    def check(data):
        (tmp_path / "i.jpg").write_bytes(data)
        return is_taken(lambda: Intrinsics.from_exif(tmp_path / "i.jpg"), ValueError, "i.jpg")

    assert all(check(seed) for seed in seeds)
    explored(mutated([*seeds, *images[:3]], (b"Exif\0\0", b"MM\0*", b"II*\0", b"\x87\x69", b"\x92\x0a")), check)
