import numpy as np
import pytest

from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.projected_box import projected_box
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.geometry.six_dof import SixDof
from tddfa.model.face_model import FaceModel

SIZE = (1000, 1200)
CAMERA = Intrinsics.assumed(SIZE)


@pytest.fixture(scope="module")
def points(root):
    model = FaceModel.load(root / "configs/open_face.npz")
    return model.landmarks(np.zeros(model.shape_count), np.zeros(model.expression_count))


def pose(yaw=0.0, pitch=0.0, roll=0.0, at=(0.0, 0.0, 150.0)):
    return SixDof(np.diag([1.0, -1.0, -1.0]) @ rotation_from_euler(yaw, pitch, roll), np.array(at), CAMERA, 0.0)


def step_by_step(pose, points):
    """img2pose's rule, to whole px."""
    x, y = pose.project(points).T.astype(float)
    width, height = x.max() - x.min(), y.max() - y.min()
    wide, high = int(1.1 * width), int(1.1 * height)
    middle_x, middle_y = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    left, right = middle_x - wide / 2, middle_x + wide / 2
    top, bottom = middle_y - high / 2, middle_y + high / 2
    rz = pose.img2pose_vector[2]
    if abs(rz) > 2.5:
        bottom += 0.3 * height
    elif rz > 1:
        right += 0.3 * width
    elif rz < -1:
        left -= 0.3 * width
    else:
        top -= 0.3 * height
    return [max(int(left), 0), max(int(top), 0), min(int(right), SIZE[1]), min(int(bottom), SIZE[0])]


@pytest.mark.parametrize("roll", [0, 40, 70, 110, 170, 180, -40, -70, -110, -170])
@pytest.mark.parametrize("yaw", [0, 35, -80])
def test_it_is_img2poses(points, yaw, roll):
    found = projected_box(pose(yaw, -10, roll), points, SIZE)
    np.testing.assert_allclose(found, step_by_step(pose(yaw, -10, roll), points), atol=1.51)


@pytest.mark.parametrize(
    ("roll", "side"),
    [(0, "top"), (50, "top"), (-50, "top"), (90, "right"), (-90, "left"), (170, "bottom"), (180, "bottom")],
)
def test_it_grows_where_the_forehead_is(root, points, roll, side):
    """The side is where the model's own highest point is drawn."""
    model = FaceModel.load(root / "configs/open_face.npz")
    found, plain = (projected_box(pose(0, 0, roll), points, SIZE, expand_forehead=share) for share in (0.3, 0))
    grown = dict(zip(("left", "top", "right", "bottom"), np.abs(found - plain) > 1, strict=True))
    assert [name for name, did in grown.items() if did] == [side]
    top = model.mean[model.mean[:, 1].argmax()]
    x, y = (
        pose(0, 0, roll).project(np.stack([top, points.mean(axis=0)]))[0]
        - pose(0, 0, roll).project(points.mean(axis=0)[None])[0]
    )
    assert side in {("right" if x > 0 else "left"), ("bottom" if y > 0 else "top")}


def test_factors(points):
    plain = projected_box(pose(), points, SIZE, bbox_x_factor=1, bbox_y_factor=1, expand_forehead=0)
    drawn = pose().project(points)
    np.testing.assert_allclose(plain, [*drawn.min(axis=0), *drawn.max(axis=0)], atol=1e-3)
    wide = projected_box(pose(), points, SIZE, bbox_x_factor=2, bbox_y_factor=1.5, expand_forehead=0)
    np.testing.assert_allclose(wide[2:] - wide[:2], (plain[2:] - plain[:2]) * (2, 1.5), rtol=1e-5)
    np.testing.assert_allclose(wide[2:] + wide[:2], plain[2:] + plain[:2], rtol=1e-5)


def test_it_is_clipped_to_the_image(points):
    left = projected_box(pose(at=(-40.0, -33.0, 150.0)), points, SIZE)
    assert (left[0], left[1]) == (0, 0)
    assert left[2] > left[0]
    right = projected_box(pose(at=(40.0, 33.0, 150.0)), points, SIZE)
    assert (right[2], right[3]) == (1200, 1000)
    outside = projected_box(pose(at=(500.0, 0.0, 150.0)), points, SIZE)
    assert outside[0] == outside[2] == 1200


def test_behind_the_camera(points):
    # with its middle at 5 cm, the ends of the jaw are before the lens, the nose is behind it
    assert np.isfinite(projected_box(pose(at=(0.0, 0.0, 5.0)), points, SIZE)).all()
    with pytest.raises(ValueError, match="points: expected at least one in front of the camera"):
        projected_box(pose(at=(0.0, 0.0, -50.0)), points, SIZE)
