"""The page docs/gallery.md and the images of the repository."""

import importlib.util
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from tddfa.outputs import KINDS, image_kinds

LARGEST, ALL_TOGETHER = 300_000, 2_500_000


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("gallery", root / "examples/gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/gallery.md").read_text(encoding="utf-8")


def test_the_page_has_every_figure_and_names_every_file(root, script, page):
    named = re.findall(r"!\[([^]]+)\]\(gallery/(\w+)\.(?:jpg|gif)\)", page)
    assert named == [*((title, name) for name, (title, _) in script.FIGURES.items()), ("A video", "video")]
    written = {path.name for path in (root / "docs/gallery").iterdir()}
    assert written == set(re.findall(r"\(gallery/([\w.]+)\)", page))
    for _, caption in script.FIGURES.values():
        assert caption in page
    for kind in re.findall(r"-o (\w+)`", page):
        assert kind == "KIND" or kind in KINDS


def test_images_are_small(root):
    files = [*(root / "docs/gallery").iterdir(), root / "docs/overview.jpg"]
    sizes = {path.name: path.stat().st_size for path in files}
    assert max(sizes.values()) <= LARGEST, sizes
    assert sum(sizes.values()) <= ALL_TOGETHER


def test_the_video_moves(root):
    with Image.open(root / "docs/gallery/video.gif") as animation:
        assert animation.n_frames >= 10
        first = np.asarray(animation.convert("RGB"), dtype=int)
        animation.seek(animation.n_frames // 2)
        assert np.abs(np.asarray(animation.convert("RGB"), dtype=int) - first).mean() > 2


def test_a_grid_of_every_kind_of_the_model(script, aligner, astronaut):
    drawn = script.every_kind(aligner, astronaut)
    count = 1 + sum(kind.missing(aligner) is None for kind in image_kinds().values())
    rows = -(-count // 5)
    width, height = script.TILE
    assert drawn.shape == (rows * (height + script.GAP) - script.GAP, 5 * (width + script.GAP) - script.GAP, 3)
    first, second = drawn[24:height, :width], drawn[24:height, width + script.GAP : 2 * width + script.GAP]
    assert 0.5 < np.abs(first.astype(int) - second).mean() < 40


def test_tiles_show_every_face(script, aligner, two_people):
    faces = aligner(two_people)
    assert len(faces) == 2
    rows, columns = script.around(two_people, faces, script.WIDE_TILE)
    points = np.concatenate([face.landmarks[:, :2] for face in faces])
    assert (points >= (columns.start, rows.start)).all()
    assert (points < (columns.stop, rows.stop)).all()


def test_a_mask_covers_the_lower_face(script, aligner):
    plain, masked = (script.case(aligner, 11, -20, 0, -4, {}, worn) for worn in (False, True))
    changed = cv2.absdiff(plain, masked).max(axis=-1) > 20
    assert 0.05 < changed.mean() < 0.3
    assert not changed[:120].any()
