import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.geometry.camera import Camera  # noqa: E402
from tddfa.landmarks68 import LID_PAIRS, LIP_PAIRS  # noqa: E402
from tddfa.model.face_model import FaceModel  # noqa: E402
from tddfa.train.regressor import losses  # noqa: E402

YES = torch.ones(3, dtype=torch.bool)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def surface(model):
    return losses.Surface(model, 40)


@pytest.fixture
def made(model, rng):
    """Cameras, shapes, expressions of three heads as float32 tensors."""
    cameras = np.array(
        [Camera.from_pose(yaw, 5, 10, 6.0, (60, 58, 0)).matrix for yaw in (-50, 0, 30)], dtype=np.float32
    )
    shape = rng.normal(0, 1, (3, model.shape_count)).astype(np.float32)
    expression = rng.random((3, model.expression_count)).astype(np.float32)
    return tuple(torch.from_numpy(value) for value in (cameras, shape, expression))


def changed(made, rng, size=0.1):
    return tuple(value + size * torch.from_numpy(rng.normal(0, 1, value.shape).astype(np.float32)) for value in made)


def gradient_agrees(function, value):
    """The gradient of a function of one tensor along a line, against the difference of its values."""
    value = value.double().requires_grad_()
    direction = torch.from_numpy(np.random.default_rng(5).normal(size=tuple(value.shape)))
    (gradient,) = torch.autograd.grad(function(value), value)
    with torch.no_grad():
        difference = (function(value + 1e-6 * direction) - function(value - 1e-6 * direction)) / 2e-6
    return float((gradient * direction).sum()) == pytest.approx(float(difference), rel=1e-4, abs=1e-7)


def test_the_surface_is_the_face_models(model, surface, made):
    points = surface(*made).numpy()
    assert points.shape == (3, len(surface), 3) == (3, 68 + 40, 3)
    for i in range(3):
        camera = Camera(made[0][i].numpy())
        shape, expression = made[1][i].numpy(), made[2][i].numpy()
        assert np.allclose(points[i, :68], camera.project(model.landmarks(shape, expression)), atol=1e-3)
        vertices = camera.project(model.vertices(shape, expression))
        distance = np.linalg.norm(points[i, 68:, None] - vertices[None], axis=2).min(axis=1)
        assert distance.max() < 1e-3, "each further point is one of the vertices"


def test_vertices_are_spread(rng):
    points = rng.normal(0, 1, (500, 3)).astype(np.float32)
    chosen = points[losses.spread_vertices(points, 60)]
    apart = np.linalg.norm(chosen[:, None] - chosen[None], axis=2)[~np.eye(60, dtype=bool)].min()
    holes = np.linalg.norm(points[:, None] - chosen[None], axis=2).min(axis=1).max()
    # what farthest-point sampling promises: no hole is wider than the closest pair
    assert holes <= apart + 1e-6
    assert len(np.unique(chosen, axis=0)) == 60


@pytest.mark.parametrize("count", [0, 501])
def test_more_vertices_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=f"vertices: expected 1..500, got {count}"):
        losses.spread_vertices(np.zeros((500, 3), dtype=np.float32), count)


def test_surface_distance_equals_numpy(rng):
    predicted, target = (torch.from_numpy(rng.normal(0, 1, (3, 10, 3))) for _ in range(2))
    rows = torch.tensor([True, False, True])
    distance = np.abs(predicted.numpy() - target.numpy()) * (1, 1, 0.5)
    wanted = distance.sum(axis=2).mean(axis=1)[[0, 2]].mean()
    assert float(losses.surface_distance(predicted, target, rows, depth=0.5)) == pytest.approx(wanted)


def test_rows_that_do_not_count_may_hold_anything(rng):
    values = torch.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    mean = losses.mean_of_rows(values, torch.tensor([True, False, True]))
    mean.backward()
    assert float(mean.detach()) == 2
    assert values.grad.tolist() == [0.5, 0, 0.5]
    assert float(losses.mean_of_rows(values.detach(), torch.zeros(3, dtype=torch.bool))) == 0


def test_landmark_distance_leaves_out_unknown_points_and_weighs_the_others(rng):
    predicted = torch.from_numpy(rng.normal(0, 1, (2, 68, 2)))
    target = predicted.clone()
    target[0, 40] += 3
    target[0, 5] += 1
    target[0, 6] = float("nan")
    weights = losses.landmark_weights(jaw=1, brows=2, nose=3, eyes=4, mouth=5)
    assert weights[[0, 16, 17, 26, 27, 35, 36, 47, 48, 67]].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    total = float(weights.sum()) - 1
    value = losses.landmark_distance(predicted, target, weights, torch.tensor([True, True]))
    assert float(value) == pytest.approx((4 * 6 + 1 * 2) / total / 2)


def test_a_row_without_a_known_landmark_adds_nothing():
    predicted = torch.zeros(1, 68, 2, requires_grad=True)
    target = torch.full((1, 68, 2), float("nan"))
    for value in (
        losses.landmark_distance(predicted, target, torch.ones(68), torch.tensor([True])),
        losses.pair_distance(predicted, target, LID_PAIRS, torch.tensor([True])),
    ):
        value.backward()
        assert float(value.detach()) == 0
        assert torch.isfinite(predicted.grad).all()


def test_pairs_do_not_depend_on_the_position_of_the_head(rng):
    target = torch.from_numpy(rng.normal(0, 1, (3, 68, 2)))
    moved = target + 5
    assert float(losses.pair_distance(moved, target, LID_PAIRS, YES)) == pytest.approx(0, abs=1e-12)
    moved[:, 37, 1] += 2
    assert float(losses.pair_distance(moved, target, LID_PAIRS, YES)) == pytest.approx(2 / 4)
    assert float(losses.pair_distance(moved, target, LIP_PAIRS, YES)) == pytest.approx(0, abs=1e-12)


def test_score_loss_is_cross_entropy():
    logit = torch.tensor([2.0, -1.0, 0.5])
    face = torch.tensor([True, False, False])
    probability = 1 / (1 + np.exp(-logit.numpy()))
    wanted = -np.log([probability[0], 1 - probability[1], 1 - probability[2]]).mean()
    assert float(losses.score_loss(logit, face)) == pytest.approx(wanted, rel=1e-5)


def test_vdc_does_not_depend_on_the_z_offset(surface, made, rng):
    cameras, shape, expression = made
    far = cameras.clone()
    far[:, 2, 3] += 40
    predicted = surface(losses.with_depth_of(far, cameras), shape, expression)
    assert float(losses.vertex_distance(predicted, surface(*made), YES)) == pytest.approx(0, abs=1e-6)
    right = cameras.clone()
    right[:, 0, 3] += 2
    predicted = surface(losses.with_depth_of(right, cameras), shape, expression)
    assert float(losses.vertex_distance(predicted, surface(*made), YES)) == pytest.approx(4, rel=1e-4)


def wpdc_reference(surface, camera, true_camera, coefficients, true_coefficients, std):
    """WPDC of one crop in NumPy, by what each parameter's error moves when it is the only one."""
    mean, basis = (value.numpy().astype(np.float64) for value in (surface.mean, surface.basis))
    points = (mean + true_coefficients @ basis).reshape(-1, 3)
    weights = []
    for row in range(3):
        for column in range(4):
            error = abs(camera[row, column] - true_camera[row, column])
            moved = error * (points[:, column] if column < 3 else np.ones(len(points)))
            weights.append(np.linalg.norm(moved))
    scale = np.linalg.norm(true_camera[:, :3], axis=1).mean()
    for k, vector in enumerate(basis):
        weights.append(abs(coefficients[k] - true_coefficients[k]) * np.linalg.norm(vector) * scale)
    weights = (np.array(weights) + 1e-6) / (max(weights) + 1e-6)
    weights[11] = 0
    difference = np.concatenate([(camera - true_camera).reshape(-1), coefficients - true_coefficients]) / std
    return (weights * difference**2).mean()


def test_wpdc_equals_numpy(surface, made, rng):
    predicted = changed(made, rng)
    std = torch.from_numpy(rng.uniform(0.5, 2, 12 + surface.basis.shape[0]).astype(np.float32))
    joined = [torch.cat(group[1:], dim=1) for group in (predicted, made)]
    value = losses.weighted_parameter_distance(surface, (predicted[0], made[0]), tuple(joined), std, YES)
    arrays = [each.numpy().astype(np.float64) for each in (predicted[0], made[0], *joined)]
    wanted = np.mean([wpdc_reference(surface, *(each[i] for each in arrays), std.numpy()) for i in range(3)])
    assert float(value) == pytest.approx(wanted, rel=1e-3)


def test_gradients_are_those_of_the_values(rng):
    points = torch.from_numpy(rng.normal(0, 1, (3, 68, 3)))
    target = torch.from_numpy(rng.normal(0, 1, (3, 68, 3)))
    assert gradient_agrees(lambda x: losses.surface_distance(x, target, YES), points)
    assert gradient_agrees(lambda x: losses.landmark_distance(x, target[..., :2], torch.ones(68), YES), points[..., :2])
    assert gradient_agrees(lambda x: losses.pair_distance(x, target[..., :2], LIP_PAIRS, YES), points[..., :2])
    assert gradient_agrees(lambda x: losses.vertex_distance(x, target, YES), points)
    assert gradient_agrees(lambda x: losses.score_loss(x, YES), points[:, 0, 0])


def test_no_gradient_flows_through_the_weights_of_wpdc(surface, made, rng):
    predicted = changed(made, rng)
    camera = predicted[0].clone().requires_grad_()
    joined = tuple(torch.cat(group[1:], dim=1) for group in (predicted, made))
    std = torch.ones(12 + surface.basis.shape[0])
    losses.weighted_parameter_distance(surface, (camera, made[0]), joined, std, YES).backward()
    # 2 w d, w held: of a row's entries the gradient has the error's sign, and the z offset has none
    error = (camera - made[0]).detach()
    assert torch.equal(torch.sign(camera.grad[:, :2]), torch.sign(error[:, :2]))
    assert (camera.grad[:, 2, 3] == 0).all()


def test_the_best_constant_of_the_blendshape_term_is_the_mean_and_that_of_whitened_coefficients_the_median():
    # a shape that is active in one crop of four
    target = torch.tensor([[0.0], [0.0], [0.0], [0.8]])
    rows = torch.ones(4, dtype=torch.bool)
    guesses = torch.linspace(0, 1, 101)
    for loss, best in ((losses.blendshape_distance, 0.2), (losses.coefficient_distance, 0.0)):
        values = torch.stack([loss(guess.expand(4, 1), target, rows) for guess in guesses])
        assert float(guesses[values.argmin()]) == pytest.approx(best)
