import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.geometry.triangulation import SOURCES, consistency, matrices, pinhole, project, triangulate

INTRINSICS = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])


def looking_at_the_origin(yaw, pitch, distance=2.7):
    """Camera to world, OpenCV's camera frame, `distance` away from the origin and turned to it."""
    turn = rotation_from_euler(yaw, pitch, 0)
    pose = np.eye(4)
    pose[:3, :3] = turn @ np.diag([1, -1, -1])
    pose[:3, 3] = turn @ [0, 0, distance]
    return pose


@pytest.fixture
def directions():
    return [(-40, 5), (-10, -15), (0, 20), (25, 0), (50, -5)]


@pytest.fixture
def affine(directions):
    return np.array([Camera.from_pose(y, p, 7, 11.0, (250, 240, 0)).matrix[:2] for y, p in directions], np.float64)


@pytest.fixture
def perspective(directions):
    return np.array([pinhole(looking_at_the_origin(y, p), INTRINSICS, (480, 512)) for y, p in directions])


@pytest.fixture
def points(rng):
    return rng.normal(0, 0.15, (68, 3))


def test_a_pinhole_sees_the_origin_in_the_middle_of_the_image(perspective):
    # half the image from the left edge, which is half a px before the first centre
    assert np.allclose(project(perspective, np.zeros((1, 3))), [[[255.5, 239.5]]] * 5)


def test_a_pinhole_by_hand():
    camera = pinhole(looking_at_the_origin(0, 0, distance=2), INTRINSICS, (512, 512))
    # 0.1 to the right and 0.2 up, 2 away: x right and y down in px
    ((u, v),) = project(camera[None], [[0.1, 0.2, 0]])[0]
    assert np.isclose(u, 255.5 + 512 * 4.2647 * 0.1 / 2)
    assert np.isclose(v, 255.5 - 512 * 4.2647 * 0.2 / 2)


@pytest.mark.parametrize("kind", ["affine", "perspective"])
def test_what_is_projected_comes_back(kind, points, request):
    cameras = request.getfixturevalue(kind)
    assert np.allclose(triangulate(cameras, project(cameras, points)), points, atol=1e-9)


def test_of_affine_cameras_two_rows_are_enough(affine, points):
    whole = matrices(affine)
    assert np.array_equal(whole[:, 2], [[0, 0, 0, 1]] * 5)
    assert np.array_equal(project(whole, points), project(affine, points))
    assert np.array_equal(project(whole * 2.0, points), project(affine, points)), "a camera has no scale"
    assert np.allclose(triangulate(whole * -3.0, project(affine, points)), points, atol=1e-9)


def test_affine_views_with_noise_give_the_least_reprojection_error(affine, points, rng):
    seen = project(affine, points) + rng.normal(0, 2, (5, 68, 2))
    found = triangulate(affine, seen)
    # an independent solution: one point at a time, by least squares
    rows = affine[:, :, :3].reshape(-1, 3)
    for k in range(68):
        right = (seen[:, k] - affine[:, :, 3]).reshape(-1)
        assert np.allclose(found[k], np.linalg.lstsq(rows, right, rcond=None)[0], atol=1e-9)


def test_perspective_views_with_noise_are_near_the_best(perspective, points, rng):
    from scipy.optimize import least_squares

    points = points[:10]
    seen = project(perspective, points) + rng.normal(0, 1, (5, 10, 2))
    found = triangulate(perspective, seen)
    best = least_squares(lambda x: (project(perspective, x.reshape(-1, 3)) - seen).ravel(), points.ravel(), x_scale=0.1)
    ours = np.square(project(perspective, found) - seen).sum()
    assert ours <= 1.02 * 2 * best.cost


def test_more_views_err_less(perspective, points, rng):
    seen = project(perspective, points) + rng.normal(0, 2, (5, 68, 2))
    two, five = (np.linalg.norm(triangulate(perspective[:n], seen[:n]) - points, axis=1).mean() for n in (2, 5))
    assert five < 0.8 * two


def test_views_from_one_direction_do_not_determine_the_depth(affine, points):
    same = affine[[0, 0, 0]]
    with pytest.raises(ValueError, match="do not determine the depth"):
        triangulate(same, project(same, points))


@pytest.mark.parametrize(
    ("cameras", "points", "message"),
    [
        (np.zeros((1, 3, 4)), np.zeros((1, 2, 2)), "two views or more, got 1"),
        (np.zeros((2, 4, 4)), np.zeros((2, 2, 2)), r"cameras: expected shape \(n, 3, 4\)"),
        (np.ones((2, 3, 4)), np.zeros((3, 5, 2)), r"points: expected shape \(2, n, 2\)"),
        (np.ones((2, 3, 4)), np.full((2, 5, 2), np.nan), "finite"),
        (np.zeros((2, 3, 4)), np.zeros((2, 5, 2)), "not all 0"),
    ],
)
def test_what_is_no_view(cameras, points, message):
    with pytest.raises(ValueError, match=message):
        triangulate(cameras, points)


def test_a_camera_that_cannot_be():
    with pytest.raises(ValueError, match="inverted"):
        pinhole(np.zeros((4, 4)), INTRINSICS, (512, 512))
    with pytest.raises(ValueError, match="image_size"):
        pinhole(np.eye(4), INTRINSICS, (0, 512))


def test_no_points_are_none(affine):
    assert triangulate(affine, np.zeros((5, 0, 2))).shape == (0, 3)


def test_views_agree_on_what_is_right_and_on_what_is_wrong_in_all_of_them(perspective, points):
    for solid in (points, points + np.array([3.0, 0, 0])):
        found = consistency(perspective, project(perspective, solid), np.full(len(perspective), 100.0), 6, rng_of(0))
        assert found.points == pytest.approx(np.broadcast_to(solid, (6, *solid.shape)), abs=1e-6)
        assert found.reprojection == pytest.approx(0, abs=1e-6)
        assert found.spread == pytest.approx(0, abs=1e-6)


def test_disagreement_grows_with_noise_and_shrinks_with_size(perspective, points):
    noise = rng_of(1).normal(0, 0.2, (len(perspective), len(points), 2))
    seen = project(perspective, points)

    def measured(factor, size):
        return consistency(perspective, seen + factor * noise, np.full(len(perspective), size), 6, rng_of(0))

    little, much, large = measured(1, 100.0), measured(2, 100.0), measured(1, 200.0)
    for name in ("reprojection", "reprojection_targets", "spread"):
        assert getattr(much, name) == pytest.approx(2 * getattr(little, name), rel=0.05), name
    assert large.reprojection == pytest.approx(little.reprojection / 2)
    assert large.spread == little.spread
    assert little.reprojection_targets > little.reprojection
    four = slice(0, SOURCES)
    alone = consistency(perspective[four], (seen + noise)[four], np.full(SOURCES, 100.0), 3, rng_of(0))
    assert np.isnan(alone.reprojection_targets)
    assert alone.spread == pytest.approx(0, abs=1e-9)


def rng_of(seed):
    return np.random.default_rng(seed)


def test_what_consistency_is_not_measured_of(perspective, points):
    seen, sizes = project(perspective, points), np.ones(len(perspective))
    for arguments, message in (
        ((perspective[:3], seen[:3], sizes[:3], 2), "cameras: expected 4 or more, got 3"),
        ((perspective, seen, sizes, 0), "sets: expected 1 or more, got 0"),
        ((perspective, seen, sizes[:2], 2), "sizes: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            consistency(*arguments, rng_of(0))
