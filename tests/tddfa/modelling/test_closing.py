"""The surface of the shipped face model has no holes, and no inverted triangles."""

import cv2
import numpy as np
import pytest

from Sim3DR import rasterize
from tddfa import Camera
from tddfa.model.face_model import FACE, INNER_MOUTH
from tddfa.modelling.closing import Sphere, clip
from tddfa.modelling.draft import Draft, boundary_loops

SIZE, SCALE = 512, 22


def holes(vertices, triangles, yaw, pitch):
    """Pixels (k, 2) inside the outline that no triangle that faces the viewer covers.

    Outside is what a path of 8-connected empty pixels joins to the border: the end of a wedge of background is outside.
    """
    points = Camera.from_pose(yaw, pitch, 0, SCALE).project(vertices)
    points[:, :2] += SIZE / 2 - (points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2
    empty = ~rasterize(points.astype(np.float32), triangles, (0, 0, SIZE, SIZE), cull="back").mask
    _, labels = cv2.connectedComponents(empty.astype(np.uint8), connectivity=8)
    return np.argwhere(empty & (labels != labels[0, 0]))


def normals_of(points, triangles):
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def test_random_faces_have_no_holes(second, random_faces):
    found = [len(holes(vertices, second.triangles, *pose)) for vertices, *pose in random_faces(40)]
    assert sum(found) <= 1  # a wedge of background between ear and jaw may close over a pixel


def test_the_test_finds_a_hole(second, random_faces):
    vertices, yaw, pitch = next(random_faces(1))
    nose = vertices[:, 2].argmax()
    without = second.triangles[~(second.triangles == nose).any(axis=1)]
    assert len(holes(vertices, without, yaw, pitch))


@pytest.mark.parametrize("expression", ["jawOpen", "eyeBlinkLeft", "mouthFunnel", "eyeWideRight"])
def test_open_mouths_and_eyes_show_a_surface(second, expression):
    row = second.expression_basis[second.expression(expression)].astype(np.float32)
    for yaw in (-40, 0, 40):
        assert len(holes(second.mean + row, second.triangles, yaw, 0)) == 0


def test_no_triangle_of_the_neutral_face_is_inverted(second):
    faces = normals_of(second.mean.astype(np.float64), second.triangles)
    vertices = np.zeros(second.mean.shape)
    for corner in range(3):
        np.add.at(vertices, second.triangles[:, corner], faces)
    around = vertices[second.triangles].sum(axis=1)
    assert ((faces * around).sum(axis=1) > 0).all()


def test_the_surface_is_a_manifold(second):
    triangles = second.triangles.astype(np.int64)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    keys = edges[:, 0] * len(second.mean) + edges[:, 1]
    assert len(np.unique(keys)) == len(keys)  # each directed edge once
    loops = boundary_loops(second.triangles[second.part[second.triangles[:, 0]] == FACE])
    assert len(loops[0]) > 400  # the rim


def test_the_first_edition_is_in_it(second, first):
    count = len(first.mean)
    np.testing.assert_array_equal(second.mean[:count], first.mean)
    np.testing.assert_array_equal(second.shape_basis[:, :count], first.shape_basis)
    same = (second.expression_basis[:, :count] == first.expression_basis).all(axis=(0, 2))
    assert (same | (first.part > 0)).all()  # only the eyeballs turn
    for name in ("landmark_triangles", "landmark_weights", "landmark_offset_300w-lp"):
        np.testing.assert_array_equal(second.extra[name], first.extra[name])


def test_the_inside_of_the_mouth_is_behind_the_lips_and_dark(second):
    mouth = second.part == INNER_MOUTH
    lips = second.mean[second.extra["region_lips"]]
    assert second.mean[mouth, 2].max() < lips[:, 2].max()
    assert second.extra["shade"][mouth].max() < 0.6
    assert second.extra["shade"][second.part == FACE].max() == 1


def test_clip_splits_triangles_on_the_line():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=np.float32)
    basis = np.zeros((1, 4, 3), dtype=np.float16)
    basis[0, 3] = (0, 0, 1)
    draft = Draft(
        corners, basis, basis, np.array([[0, 1, 2], [1, 3, 2]], dtype=np.int32), corners[:, :2], np.zeros(4, np.uint8)
    )
    clipped = clip(draft, corners[:, 0].astype(np.float64) - 0.5)
    new = clipped.mean[4:]
    np.testing.assert_allclose(new[:, 0], 0.5)
    area = np.linalg.norm(normals_of(clipped.mean, clipped.triangles), axis=1).sum() / 2
    assert area == pytest.approx(0.5)
    # new vertices move with the ends of their edges
    top = new[:, 1] == 1
    np.testing.assert_allclose(clipped.shape_basis[0, 4:][top, 2], 0.5)


def test_a_sphere_is_fitted():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    points = 2 * points / np.linalg.norm(points, axis=1, keepdims=True) + (1, 2, 3)
    sphere = Sphere.fit(points)
    np.testing.assert_allclose(sphere.centre, (1, 2, 3), atol=1e-9)
    assert sphere.radius == pytest.approx(2)
