import itertools

import numpy as np
import pytest

from tddfa import Camera, Mesh
from tddfa.model.face_model import FaceModel
from tddfa.surface.visibility import DepthTest, visible_points

POSES = [
    (0, 0, 0), (20, 0, 0), (-45, 0, 0), (60, 0, 0), (-75, 10, 0), (90, 0, 0), (110, 0, 0), (0, 40, 0), (0, -45, 0),
    (30, -30, 40), (-60, 20, -30), (180, 0, 0),
]  # fmt: skip


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


def mesh_of(model, yaw, pitch, roll, scale=20.0, at=(250.0, 250.0, 0.0)):
    return Mesh(Camera.from_pose(yaw, pitch, roll, scale, at).project(model.mean), model.triangles)


def seen(model, mesh, size=None):
    return visible_points(mesh, model.landmark_triangles, model.landmark_weights, size)


def nearest_surfaces(mesh, points):
    """The depth of the nearest surface on the lines of sight (x, y) of points, by casting rays.

    -inf where there is none, and inf where it is the inside of the head that is met: a head is not hollow.
    """
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    (left, top), (right, bottom) = corners.min(axis=1)[:, :2].T.copy(), corners.max(axis=1)[:, :2].T.copy()
    depths = []
    for x, y in points:
        a, b, c = corners[(left <= x) & (x <= right) & (top <= y) & (y <= bottom)].transpose(1, 0, 2)
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        a, b, c, area = a[area != 0], b[area != 0], c[area != 0], area[area != 0]
        u = ((b[:, 0] - x) * (c[:, 1] - y) - (b[:, 1] - y) * (c[:, 0] - x)) / area
        v = ((c[:, 0] - x) * (a[:, 1] - y) - (c[:, 1] - y) * (a[:, 0] - x)) / area
        hit = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1))
        depth = (u * a[:, 2] + v * b[:, 2] + (1 - u - v) * c[:, 2])[hit]
        if not len(hit):
            depths.append(-np.inf)
        else:  # y is down: counter-clockwise for the viewer is a negative area
            depths.append(depth.max() if area[hit[depth.argmax()]] < 0 else np.inf)
    return np.array(depths)


@pytest.mark.parametrize("pose", POSES)
def test_it_agrees_with_ray_casting(model, pose):
    """A point is visible if a ray at it, or 1/256 of the face beside it, hits no surface well in front of it."""
    mesh = mesh_of(model, *pose)
    points = (mesh.vertices[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
    extent = np.ptp(mesh.vertices, axis=0).max()
    reach = extent / 256
    around = np.array(
        [
            nearest_surfaces(mesh, points[:, :2] + (dx * reach, dy * reach))
            for dx, dy in itertools.product((-1, 0, 1), repeat=2)
        ]
    )
    expected = (around.min(axis=0) <= points[:, 2] + 0.03 * extent) & np.isfinite(around).any(axis=0)
    assert (seen(model, mesh) == expected).mean() >= 0.97


def test_clear_cases(model):
    """By exact rays: points on the surface, and points a tenth of the face behind it all around."""
    clear = wrong = 0
    for pose in POSES[1::2]:
        mesh = mesh_of(model, *pose)
        points = (mesh.vertices[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
        extent = np.ptp(mesh.vertices, axis=0).max()
        shifts = extent / 80 * np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)])
        around = np.array([nearest_surfaces(mesh, points[:, :2] + shift) for shift in shifts])
        on_top = np.abs(around[0] - points[:, 2]) < 0.005 * extent
        buried = (around > points[:, 2] + 0.1 * extent).all(axis=0)
        visible = seen(model, mesh)
        assert visible[on_top].all(), pose
        wrong += int(visible[buried].sum())
        clear += int((on_top | buried).sum())
    assert clear > 200
    # the rays may miss a gap between the lips
    assert wrong <= 0.01 * clear


def test_obvious_cases(model):
    assert seen(model, mesh_of(model, 0, 0, 0)).all()
    assert not seen(model, mesh_of(model, 180, 0, 0))[17:31].any(), "from behind, no brows, no nose"
    right, left = seen(model, mesh_of(model, 75, 0, 0)), seen(model, mesh_of(model, -75, 0, 0))
    # turned to the subject's left, the right cheek (the first of the jaw) and eye are visible, and the left are not
    assert right[[1, 2, 3, 36, 48, 17, 30]].all()
    assert not right[[12, 13, 14, 15, 45, 46, 42]].any()
    assert left[[13, 14, 15, 45, 54, 26, 30]].all()
    assert not left[[1, 2, 3, 4, 36, 41, 39]].any()


@pytest.mark.parametrize("scale", [0.5, 2, 60])
def test_size_and_position_do_not_matter(model, scale):
    expected = seen(model, mesh_of(model, 50, 10, 20))
    moved = seen(model, mesh_of(model, 50, 10, 20, scale, (-3e4, 5e4, 777.0)))
    assert (moved == expected).mean() >= 0.97


def test_points_outside_of_the_image_are_hidden(model):
    mesh = mesh_of(model, 0, 0, 0, 10, (0.0, 100.0, 0.0))
    x = (mesh.vertices[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)[:, 0]
    visible = seen(model, mesh, (300, 300))
    assert visible[x > -0.4].all()
    assert not visible[x < -0.6].any()
    assert not seen(model, mesh, (10, 10)).any()
    assert seen(model, mesh).all(), "in an image of unknown size"


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_the_depth_test_measures_how_far_vertices_are_behind(scale):
    near = np.float32([[0, 0, 9], [0, 20, 9], [20, 0, 9], [20, 20, 9]])
    far = near * np.float32([0.4, 0.4, 0]) + np.float32([6, 6, 4])
    mesh = Mesh(np.concatenate([near, far]) * np.float32(scale), np.int32([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]]))
    test = DepthTest(mesh, 100)
    assert test.extent == pytest.approx(20 * scale)
    assert test.raster.depth.shape == (102, 102)
    np.testing.assert_allclose(test.vertices_behind()[4:], 25, rtol=1e-4)
    np.testing.assert_allclose(test.vertices_behind(reach=2), [0] * 4 + [25] * 4, atol=1e-3)
    assert DepthTest(mesh, 100, enlarge=False).scale == min(1, test.scale)


def test_a_face_of_no_size(model):
    mesh = Mesh(np.zeros_like(model.mean), model.triangles)
    assert seen(model, mesh).shape == (68,)


def test_aligners_with_visibility(aligner, astronaut):
    (plain,) = aligner(astronaut)
    assert plain.visible is None
    aligner.visibility = True
    try:
        (face,) = aligner(astronaut)
        half = np.ascontiguousarray(astronaut[:, 225:])
        (part,) = aligner(half, boxes=[face.box - (225, 0, 225, 0)])
    finally:
        aligner.visibility = False
    assert face.visible.shape == (68,)
    np.testing.assert_array_equal(face.visible, aligner.decoder.visible(plain))
    assert face.visible.sum() >= 64  # her head is turned slightly
    assert not part.visible[part.landmarks[:, 0] < -1].any()
    assert part.visible[42:48].all()


def test_no_point_of_a_mesh_without_triangles_is_visible(model):
    mesh = Mesh(mesh_of(model, 0, 0, 0).vertices, np.zeros((0, 3), np.int32))
    visible = seen(model, mesh)
    assert visible.shape == (68,)
    assert not visible.any()
