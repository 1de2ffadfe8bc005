import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tddfa import landmarks68
from tddfa.evaluate import metrics
from tddfa.geometry.camera import Camera
from tddfa.geometry.rotation import euler_from_rotation


@pytest.fixture
def points(rng):
    return rng.normal(0, 30, (68, 3)) + 100


def test_nme_box_is_the_mean_distance_by_the_box(points, rng):
    actual = points + rng.normal(0, 2, points.shape)
    total = sum(math.dist(f[:2], p[:2]) for f, p in zip(actual, points, strict=True)) / 68
    width, height = (max(points[:, i]) - min(points[:, i]) for i in (0, 1))
    assert metrics.nme_box(actual, points) == pytest.approx(100 * total / math.sqrt(width * height))


def test_a_known_shift(points):
    assert metrics.nme_box(np.add(points, [3, 4, 50]), points) == pytest.approx(500 / metrics.box_length(points))
    outer = math.dist(points[36, :2], points[45, :2])
    assert metrics.nme_eyes(np.add(points, [3, 4, 50]), points) == pytest.approx(500 / outer)
    moved = points.copy()
    moved[48:68, :2] += [0, 2]
    assert metrics.nme_eyes(moved, points, landmarks68.EYES) == 0
    assert metrics.nme_eyes(moved, points, landmarks68.MOUTH) == pytest.approx(200 / outer)
    assert metrics.nme_eyes(moved, points, landmarks68.INNER) == pytest.approx(200 / outer * 20 / 51)


def test_3d_errors_ignore_the_mean_depth(points):
    outer = math.dist(points[36], points[45])
    assert metrics.ground_truth_error(np.add(points, [0, 0, 40]), points) == pytest.approx(0, abs=1e-9)
    deeper = points.copy()
    deeper[:34, 2] += 2
    assert metrics.ground_truth_error(deeper, points) == pytest.approx(100 / outer)  # 1 px off each, about the mean
    assert metrics.nme_3d(deeper, points) == pytest.approx(100 / metrics.box_length(points))
    assert metrics.nme_3d(np.add(points, [3, 4, 7]), points) == pytest.approx(
        metrics.nme_box(np.add(points, [3, 4, 0]), points)
    )


def test_undefined_errors_are_nan():
    flat = np.zeros((68, 2))
    assert np.isnan(metrics.nme_box(flat + 1, flat))
    assert np.isnan(metrics.nme_eyes(flat + 1, flat))
    assert np.isnan(metrics.mean_distance(np.empty((0, 2)), np.empty((0, 2))))
    assert np.isnan(metrics.mean([]))
    assert np.isnan(metrics.mean([np.nan]))
    assert metrics.mean([1, np.nan, 3]) == 2


def test_each_angle_belongs_to_one_bin():
    angles = np.array([0, -0.0, 15, 30, -30, 30.001, 60, -60, 60.001, 90, -90, 90.001, 118])
    inside = np.array([metrics.in_bin(angles, *limits) for limits in metrics.YAW_BINS])
    assert inside.sum(axis=1).tolist() == [5, 3, 3]
    assert inside.sum(axis=0).tolist() == [1] * 11 + [0, 0]


def test_area_under_curve_equals_a_fine_sum(rng):
    errors = np.concatenate([rng.gamma(4, 1.2, 200), [np.inf, np.nan]])
    grid = (np.arange(20000) + 0.5) / 20000 * 8
    share = (errors[None] <= grid[:, None]).mean(axis=1)
    assert metrics.area_under_curve(errors, 8) == pytest.approx(100 * share.mean(), abs=0.01)
    assert metrics.area_under_curve(np.zeros(3), 8) == 100
    assert metrics.area_under_curve([np.inf], 8) == 0
    assert np.isnan(metrics.area_under_curve([], 8))


def test_failures_are_over_the_limit_or_missed():
    assert metrics.failure_rate([1, 8, 8.001, np.inf, np.nan], 8) == pytest.approx(60)
    assert metrics.failure_rate([1, 2], 8) == 0
    assert np.isnan(metrics.failure_rate([], 8))


def test_eye_openness_of_drawn_eyes():
    points = np.zeros((68, 2))
    points[36:42] = [[0, 0], [1, -1], [2, -1], [3, 0], [2, 1], [1, 1]]
    points[42:48] = [[10, 5], [11, 5], [12, 5], [13, 5], [12, 5], [11, 5.6]]
    right, left = metrics.eye_openness(points)
    assert right == pytest.approx(2 / 3)
    assert left == pytest.approx(0.6 / 6)
    assert np.isnan(metrics.eye_openness(np.zeros((68, 3)))).all()


def test_correlation_equals_that_of_numpy(rng):
    a = rng.normal(size=(30, 2))
    b = a + rng.normal(size=(30, 2))
    assert metrics.correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    b[3, 1] = np.nan
    kept = np.isfinite(b.ravel())
    assert metrics.correlation(a, b) == pytest.approx(np.corrcoef(a.ravel()[kept], b.ravel()[kept])[0, 1])
    assert np.isnan(metrics.correlation([1], [2]))
    assert np.isnan(metrics.correlation([1, 1], [2, 3]))


def test_nearest_is_within_half_the_size(points):
    size = np.ptp(points[:, :2], axis=0).max()
    assert metrics.nearest([], points) is None
    assert metrics.nearest([points + size, points + 3, points + 2], points) == 2
    assert metrics.nearest([np.add(points, [0.51 * size, 0, 0])], points) is None
    assert metrics.nearest([np.add(points, [0.49 * size, 0, 900])], points) == 0


@pytest.mark.parametrize(("angle", "expected"), [(-351, 9), (188, -172), (180, 180), (-180, 180), (0, 0), (720.5, 0.5)])
def test_wrapped(angle, expected):
    assert metrics.wrapped(angle) == pytest.approx(expected)


class TestAngles:
    @pytest.fixture
    def angles(self, rng):
        """Yaw, pitch, roll."""
        return rng.uniform([-89, -99, -99], [89, 99, 99], (200, 3))

    def test_round_trip(self, angles):
        for yaw, pitch, roll in angles:
            actual = metrics.euler_300w_lp(metrics.rotation_300w_lp(yaw, pitch, roll))
            np.testing.assert_allclose(actual, (yaw, pitch, roll), atol=1e-9)

    def test_angles_equal_those_of_img2pose(self, angles):
        """It transposes the rotation in OpenCV's frame: Euler angles about fixed x, y, z, (pitch, -yaw, -roll)."""
        flip = np.diag([1.0, -1.0, -1.0])
        for yaw, pitch, roll in angles:
            theirs = flip @ metrics.rotation_300w_lp(yaw, pitch, roll) @ flip
            x, y, z = Rotation.from_matrix(theirs.T).as_euler("xyz", degrees=True)
            np.testing.assert_allclose((x, -y, -z), (pitch, yaw, roll), atol=1e-6)

    def test_signs_against_those_of_the_camera(self):
        """Yaw has the opposite sign; pitch and roll are the same."""
        for ours, theirs in (((20, 0, 0), (-20, 0, 0)), ((0, 20, 0), (0, 20, 0)), ((0, 0, 20), (0, 0, 20))):
            np.testing.assert_allclose(metrics.euler_300w_lp(Camera.from_pose(*ours).rotation), theirs, atol=1e-5)
            np.testing.assert_allclose(euler_from_rotation(metrics.rotation_300w_lp(*theirs)), ours, atol=1e-9)

    def test_rotation_angle(self, rng):
        for angle in (0.0, 1e-4, 12.0, 90.0, 179.9, 180.0):
            axis = rng.normal(size=3)
            turn = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis)).as_matrix()
            start = Rotation.random(random_state=3).as_matrix()
            assert metrics.rotation_angle(start, start @ turn) == pytest.approx(angle, abs=1e-5)


@pytest.mark.evaluation
def test_the_order_of_angles_is_that_of_the_labels(evaluation, aligner):
    """A rotation fitted to the labelled 3D points agrees with Pose_Para, and no other order of the angles does."""
    from scipy.io import loadmat

    model = aligner.face_model
    mean = model.landmarks(np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32))
    mean = mean - mean.mean(axis=0)
    off, swapped = [], []
    for path in sorted((evaluation / "aflw2000").glob("*.mat"))[::5]:
        labels = loadmat(path)
        ground_truth = labels["pt3d_68"].T * [1, -1, 1]
        fitted = Rotation.align_vectors(ground_truth - ground_truth.mean(axis=0), mean)[0].as_matrix()
        pitch, yaw, roll = np.degrees(labels["Pose_Para"][0, :3].astype(np.float64))
        off.append(metrics.rotation_angle(fitted, metrics.rotation_300w_lp(yaw, pitch, roll)))
        other = Rotation.from_euler("YXZ", [-yaw, -pitch, -roll], degrees=True).as_matrix()
        swapped.append(metrics.rotation_angle(fitted, other))
    assert len(off) >= 50
    assert np.mean(off) < 3
    assert np.max(off) < 12
    assert np.mean(swapped) > 6
