"""The conventions, compared with images of a head at known angles."""

import itertools

import numpy as np
import pytest

from Sim3DR import rasterize
from tddfa.geometry.camera import Camera
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.model.face_model import FaceModel

GRID = list(
    itertools.product((-90, -89.9, -60, -30, 0, 30, 60, 89.9, 90), (-60, -30, 0, 30, 60), (-60, -30, 0, 30, 60))
)


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def head(model):
    return model.mean - model.mean.mean(axis=0)


def camera_from_image(head, triangles, camera, size=320):
    """Render a head and read the camera back from the image alone.

    Each pixel of the rendering says which point of the head it shows; camera and points are tied by least squares.
    """
    raster = rasterize(camera.project(head), triangles, (0, 0, size, size), cull="back")
    rows, columns = np.nonzero(raster.mask)
    assert len(rows) > 3000, "the head is not in the image"
    corners = head[triangles[raster.triangle_id[rows, columns]]].astype(np.float64)
    u, v = raster.barycentric[rows, columns].astype(np.float64).T
    shown = corners[:, 0] * u[:, None] + corners[:, 1] * v[:, None] + corners[:, 2] * (1 - u - v)[:, None]
    pixels = np.column_stack([columns, rows, raster.depth[rows, columns]])
    solution, *_ = np.linalg.lstsq(np.column_stack([shown, np.ones(len(shown))]), pixels, rcond=None)
    return Camera(solution.T)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), GRID[::4])
def test_a_head_rendered_at_known_angles_is_read_back(model, head, yaw, pitch, roll):
    camera = Camera.from_pose(yaw, pitch, roll, scale=12, translation=(160, 160, 0))
    seen = camera_from_image(head, model.triangles, camera)
    np.testing.assert_allclose(seen.euler_degrees(), (yaw, pitch, roll), atol=0.1)
    assert seen.scale == pytest.approx(12, rel=1e-3)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), GRID)
def test_angles_come_back_over_the_whole_grid(yaw, pitch, roll):
    camera = Camera.from_pose(yaw, pitch, roll, scale=7.5)
    np.testing.assert_allclose(camera.euler_degrees(), (yaw, pitch, roll), atol=0.01)


def image_points(model, head, yaw, pitch, roll):
    """Nose tip, chin, and the middle of the brows and ears in an image of 320 px."""
    camera = Camera.from_pose(yaw, pitch, roll, scale=12, translation=(160, 160, 0))
    points = camera.project(head)
    landmarks = (points[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
    ears = points[np.concatenate([model.regions["left_ear"], model.regions["right_ear"]])].mean(axis=0)
    return {"nose": landmarks[30], "chin": landmarks[8], "brows": landmarks[17:27].mean(axis=0), "ears": ears}


class TestSigns:
    """The signs of the angles, as a viewer of the image describes them."""

    def test_frontal(self, model, head):
        seen = image_points(model, head, 0, 0, 0)
        assert seen["chin"][1] > seen["nose"][1] > seen["brows"][1], "upright: y is down"
        assert seen["nose"][2] > seen["ears"][2], "z is nearer"
        assert abs(seen["nose"][0] - seen["ears"][0]) < 2

    def test_yaw_turns_to_the_subjects_left_the_right_of_the_image(self, model, head):
        assert image_points(model, head, 40, 0, 0)["nose"][0] > image_points(model, head, 40, 0, 0)["ears"][0] + 30

    def test_pitch_looks_up(self, model, head):
        up, level = image_points(model, head, 0, 30, 0), image_points(model, head, 0, 0, 0)
        assert up["nose"][1] - up["ears"][1] < level["nose"][1] - level["ears"][1] - 30

    def test_roll_tilts_to_the_subjects_left_clockwise(self, model, head):
        seen = image_points(model, head, 0, 0, 30)
        assert seen["brows"][0] > seen["chin"][0] + 30

    def test_subjects_left_eye_is_on_the_right_of_the_image(self, model, head):
        points = Camera.from_pose(0, 0, 0, 12).project(head)
        assert points[model.regions["left_eye"], 0].mean() > points[model.regions["right_eye"], 0].mean()


class TestCamera:
    def test_rotation_is_proper_and_scale_is_that_of_the_matrix(self):
        camera = Camera.from_pose(20, -10, 5, scale=33.0, translation=(1, 2, 3))
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(camera.rotation) == pytest.approx(1)
        assert np.linalg.det(camera.matrix[:, :3].astype(float)) < 0
        assert camera.scale == pytest.approx(33.0, rel=1e-6)

    def test_a_matrix_that_is_no_similarity_gives_the_nearest_rotation(self, rng):
        exact = Camera.from_pose(20, -10, 5, scale=10.0)
        noisy = Camera(exact.matrix + rng.normal(0, 0.2, (3, 4)))
        rotation = noisy.rotation
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        flipped = np.diag([1, -1, 1]) @ noisy.matrix[:, :3].astype(float)
        best = np.trace(rotation.T @ flipped)
        for other in rng.normal(0, 3, (50, 3)):
            assert np.trace((rotation_from_euler(*other) @ rotation).T @ flipped) <= best + 1e-9

    def test_project_equals_the_formula(self, rng):
        camera = Camera(rng.normal(size=(3, 4)))
        points = rng.normal(size=(5, 2, 3)).astype(np.float32)
        expected = np.einsum("ij,abj->abi", camera.matrix[:, :3], points) + camera.matrix[:, 3]
        np.testing.assert_allclose(camera.project(points), expected, rtol=1e-5, atol=1e-5)
        assert camera.project(points).dtype == np.float32

    def test_unproject_is_the_inverse_of_project(self, rng):
        camera = Camera.from_pose(20, -10, 5, scale=33.0, translation=(100, 200, 3))
        points = rng.normal(size=(5, 2, 3)).astype(np.float32)
        back = camera.unproject(camera.project(points))
        assert back.dtype == np.float64
        np.testing.assert_allclose(back, points, atol=1e-5)
        with pytest.raises(ValueError, match=r"Camera\.matrix: expected a matrix that can be inverted"):
            Camera(np.zeros((3, 4))).unproject(points)

    @pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.full((3, 4), np.nan), [["a"] * 4] * 3])
    def test_bad_matrices_are_named(self, matrix):
        with pytest.raises((TypeError, ValueError), match=r"Camera\.matrix: expected"):
            Camera(matrix)

    @pytest.mark.parametrize(
        ("scale", "error"), [(-5, ValueError), (0, ValueError), (np.nan, ValueError), ("5", TypeError)]
    )
    def test_a_scale_that_is_not_over_0_is_named(self, scale, error):
        with pytest.raises(error, match="scale: expected a number"):
            Camera.from_pose(0, 0, 0, scale=scale)
