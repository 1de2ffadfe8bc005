"""The nine outputs of 3DDFA_V2 on its own example photos."""

import cv2
import numpy as np
import pytest
import trimesh

from tddfa._shared.image_io import read
from tddfa.outputs import Options, Outputs, image_kinds
from tddfa.surface.sampling import sample
from tddfa.surface.visibility import visibility

pytestmark = pytest.mark.upstream

NINE = ("2d_sparse", "2d_dense", "3d", "depth", "pncc", "pose", "uv_tex", "ply", "obj")
FACES = {"trump_hillary.jpg": 2, "emma.jpg": 3, "JianzhuGuo.jpg": 1}
# (x, y) of each face's nose tip, by eye
NOSES = {
    "trump_hillary.jpg": [(391, 272), (1196, 312)],
    "emma.jpg": [(414, 786), (1729, 549), (3094, 720)],
    "JianzhuGuo.jpg": [(208, 223)],
}
UV = 256


@pytest.fixture(scope="module", params=FACES)
def photo(request):
    return request.param


@pytest.fixture(scope="module")
def outputs(photo, aligner, upstream):
    image = read(upstream / "examples" / photo)
    image.setflags(write=False)
    return Outputs(image, aligner(image), aligner, Options(uv_size=UV))


def boxes(outputs, margin):
    """Where the faces are, and `margin` times their size around them."""
    there = np.zeros(outputs.image.shape[:2], bool)
    for mesh in outputs.meshes:
        low, high = mesh.vertices[:, :2].min(axis=0), mesh.vertices[:, :2].max(axis=0)
        grown = margin * (high - low).max()
        left, top = np.maximum(low - grown, 0).astype(int)
        right, bottom = np.maximum(high + grown + 1, 0).astype(int)
        there[top:bottom, left:right] = True
    return there


def test_faces(photo, outputs):
    assert len(outputs.faces) == FACES[photo]
    tips = np.array([face.landmarks[30, :2] for face in outputs.faces])
    for nose in NOSES[photo]:
        distance = np.linalg.norm(tips - nose, axis=1)
        nearest = outputs.faces[int(distance.argmin())]
        assert distance.min() < 0.12 * np.ptp(nearest.landmarks[:, 1])
    for face in outputs.faces:
        assert face.score > 0.99
        x1, y1, x2, y2 = face.box
        x, y = face.landmarks[:, :2].mean(axis=0)
        assert x1 < x < x2
        assert y1 < y < y2


def test_files(photo, outputs, aligner, tmp_path):
    count, (height, width) = FACES[photo], outputs.image.shape[:2]
    n, m = len(aligner.face_model.mean), len(aligner.face_model.triangles)
    for kind in NINE:
        path = outputs.save(kind, tmp_path / "x")[0]
        assert path.stat().st_size > 5000
        if kind in image_kinds():
            expected = (UV, UV * count, 3) if kind == "uv_tex" else (height, width, 3)
            assert cv2.imread(str(path)).shape == expected
        elif kind == "ply":
            loaded = trimesh.load(path, process=False)
            assert (len(loaded.vertices), len(loaded.faces)) == (n * count, m * count)
            low, high = loaded.bounds
            assert all(low[0] < x < high[0] and low[1] < height - y < high[1] for x, y in NOSES[photo])
        else:
            lines = path.read_bytes().splitlines()
            assert sum(line.startswith(b"v ") for line in lines) == n * count
            assert sum(line.startswith(b"f ") for line in lines) == m * count
            geometries = trimesh.load(path, process=False, split_object=True, group_material=False)
            parts = list(geometries.geometry.values()) if isinstance(geometries, trimesh.Scene) else [geometries]
            assert sum(len(part.faces) for part in parts) == m * count


@pytest.mark.parametrize("kind", [kind for kind in NINE if kind in image_kinds() and kind != "uv_tex"])
def test_images_change_only_in_the_faces(outputs, kind):
    drawn = outputs.draw(kind)
    different = (drawn != outputs.image).any(axis=-1)
    # a pose's box is larger than the face, and the text under it wider
    far = ~boxes(outputs, 1.0 if kind == "pose" else 0.03)
    assert not different[far].any()
    least = {"2d_sparse": 0.01, "2d_dense": 0.02, "pose": 0.005}.get(kind, 0.4)
    for face in outputs.faces:
        x1, y1, x2, y2 = np.maximum(face.box, 0).astype(int)
        assert different[y1:y2, x1:x2].mean() > least


def test_surfaces_cover_the_same_pixels(outputs):
    depth, pncc = (((outputs.draw(kind) != outputs.image).any(axis=-1)) for kind in ("depth", "pncc"))
    assert (depth & pncc).sum() > 0.97 * (depth | pncc).sum()


def test_textures_have_the_colours_of_the_faces(outputs):
    for mesh, texture in zip(outputs.meshes, outputs.textures, strict=True):
        seen = visibility(mesh, outputs.image.shape[:2]) == 1
        assert seen.sum() > 2000
        at = np.column_stack([mesh.uv[:, 0] * UV - 0.5, (1 - mesh.uv[:, 1]) * UV - 0.5]).astype(np.float32)
        there, here = sample(texture.image, at[seen]), sample(outputs.image, mesh.vertices[seen])
        # a texel is an average over more than a pixel of the larger photos
        assert np.median(np.abs(there.astype(int) - here)) < 6
        assert (texture.mask > 0).mean() > 0.45
