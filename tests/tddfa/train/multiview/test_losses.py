import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.geometry.camera import Camera, rotation_from_euler  # noqa: E402
from tddfa.geometry.triangulation import matrices, pinhole  # noqa: E402
from tddfa.geometry.triangulation import project as project_reference  # noqa: E402
from tddfa.geometry.triangulation import triangulate as triangulate_reference  # noqa: E402
from tddfa.train.multiview.losses import MultiviewLoss, project, triangulate  # noqa: E402

DIRECTIONS = [(-40, 5), (-10, -15), (0, 20), (25, 0), (50, -5), (10, 10)]
SIDE = 160


def in_shares(cameras):
    """Cameras to px, converted to fractions of an image of SIDE px."""
    return np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, SIDE]]) / SIDE @ cameras


def affine():
    return in_shares(matrices([Camera.from_pose(y, p, 7, 9.0, (80, 78, 0)).matrix[:2] for y, p in DIRECTIONS]))


def perspective():
    cameras = []
    for yaw, pitch in DIRECTIONS:
        turn = rotation_from_euler(yaw, pitch, 0)
        pose = np.eye(4)
        pose[:3, :3] = turn @ np.diag([1, -1, -1])
        pose[:3, 3] = turn @ [0, 0, 60]
        cameras.append(pinhole(pose, np.array([[2.5, 0, 0.5], [0, 2.5, 0.5], [0, 0, 1]]), (SIDE, SIDE)))
    return in_shares(np.array(cameras))


@pytest.fixture(params=[affine, perspective], ids=["affine", "perspective"])
def cameras(request):
    return request.param()


@pytest.fixture
def points(rng):
    return rng.normal(0, 3.5, (68, 3))


def tensors(*arrays):
    return tuple(torch.from_numpy(np.asarray(array, dtype=np.float64)) for array in arrays)


def test_project_equals_numpy(cameras, points):
    assert np.allclose(project(*tensors(cameras, points)), project_reference(cameras, points), atol=1e-12)


def test_triangulate_equals_numpy_with_noise_too(cameras, points, rng):
    seen = project_reference(cameras, points) + rng.normal(0, 0.02, (len(cameras), 68, 2))
    predicted = triangulate(*tensors(cameras, seen)).numpy()
    assert np.allclose(predicted, triangulate_reference(cameras, seen), atol=1e-9)
    assert not np.allclose(predicted, points, atol=0.01), "the noise has to show, or nothing was compared"


def test_triangulate_of_two_views(cameras, points):
    two = cameras[[0, 4]]
    assert np.allclose(triangulate(*tensors(two, project_reference(two, points))), points, atol=1e-9)


def test_a_camera_has_no_scale(cameras, points, rng):
    seen = project_reference(cameras, points) + rng.normal(0, 0.02, (len(cameras), 68, 2))
    scaled = cameras * rng.uniform(0.1, 9, (len(cameras), 1, 1))
    assert np.allclose(triangulate(*tensors(scaled, seen)), triangulate(*tensors(cameras, seen)), atol=1e-9)


def test_gradients_of_triangulate_are_those_of_differences(cameras, points, rng):
    matrix, seen = tensors(cameras, project_reference(cameras, points) + rng.normal(0, 0.02, (len(cameras), 68, 2)))
    seen = seen[:, :5].requires_grad_()
    assert torch.autograd.gradcheck(lambda p: triangulate(matrix, p), (seen,))


def test_gradients_of_the_loss_are_those_of_differences(cameras, points, rng):
    target = project_reference(cameras, points)
    # no difference is near 0, where an absolute value has no gradient
    noise = rng.choice([-1, 1], target.shape) * rng.uniform(0.01, 0.03, target.shape)
    predicted, matrix, labels = tensors(target + noise, cameras, target)
    loss = MultiviewLoss()

    # the 68 points at once would take long: five of them move
    def of_some(some):
        return tuple(loss(torch.cat([some, predicted[:, 5:]], dim=1), matrix, labels))

    assert torch.autograd.gradcheck(of_some, (predicted[:, :5].clone().requires_grad_(),), eps=1e-7, atol=1e-6)


def test_perfect_predictions_cost_nothing(cameras, points):
    target, matrix = tensors(project_reference(cameras, points), cameras)
    for term in MultiviewLoss()(target, matrix, target):
        assert term.item() < 1e-12


def test_each_term_measures_its_views(cameras, points):
    """Found points of a head that is elsewhere agree with each other, but not with the labels."""
    elsewhere = project_reference(cameras, points + np.array([0.5, 0, 0]))
    predicted, matrix, labels = tensors(elsewhere, cameras, project_reference(cameras, points))
    terms = MultiviewLoss(source_views=3)(predicted, matrix, labels)
    assert terms.projection.item() < 1e-12
    off = (predicted - labels).abs()
    assert np.isclose(terms.source.item(), off[:3].mean().item())
    assert np.isclose(terms.landmarks.item(), off.mean().item())
    assert np.isclose(terms.total.item(), sum(term.item() for term in terms))


def test_terms_equal_numpy(cameras, points, rng):
    target = project_reference(cameras, points)
    predicted = target + rng.normal(0, 0.01, target.shape)
    seen = project_reference(cameras, triangulate_reference(cameras[:4], predicted[:4]))
    terms = MultiviewLoss(jaw_weight=0.25)(*tensors(predicted, cameras, target))
    weights = np.where(np.arange(68) < 17, 0.25, 1)[:, None]
    assert np.isclose(terms.projection.item(), np.abs(predicted - seen)[4:].mean())
    assert np.isclose(terms.source.item(), np.abs(target - seen)[:4].mean())
    assert np.isclose(terms.landmarks.item(), (np.abs(predicted - target) * weights).mean())


def test_an_outlier_view_is_pulled_towards_the_others(cameras, points):
    """Nothing but agreement is asked for: a target view comes to where the sources say."""
    target = project_reference(cameras, points)
    predicted = target.copy()
    predicted[-1] += 0.05
    moved, matrix, labels = tensors(predicted, cameras, target)
    moved.requires_grad_()
    (gradient,) = torch.autograd.grad(MultiviewLoss()(moved, matrix, labels).projection, moved)
    assert (gradient[-1] > 0).all(), "down the gradient is back"


def test_an_outlier_source_view_is_pulled_back_by_both_terms(cameras, points):
    target = project_reference(cameras, points)
    predicted = target.copy()
    predicted[0] += 0.05
    moved, matrix, labels = tensors(predicted, cameras, target)
    moved.requires_grad_()
    terms = MultiviewLoss()(moved, matrix, labels)
    for term in (terms.projection, terms.source):
        (gradient,) = torch.autograd.grad(term, moved, retain_graph=True)
        assert (gradient[0] * 0.05).sum() > 0


def test_gradient_descent_makes_noisy_views_agree(points, rng):
    cameras = affine()
    target = project_reference(cameras, points)
    predicted, matrix, labels = tensors(target + rng.normal(0, 0.02, target.shape), cameras, target)
    predicted.requires_grad_()
    loss, optimizer = MultiviewLoss(), torch.optim.Adam([predicted], 1e-3)
    before = loss(predicted, matrix, labels).total.item()
    for _ in range(60):
        optimizer.zero_grad()
        loss(predicted, matrix, labels).total.backward()
        optimizer.step()
    assert loss(predicted, matrix, labels).total.item() < 0.1 * before


def test_labels_get_no_gradient_and_float32_comes_back(cameras, points):
    predicted = torch.from_numpy(project_reference(cameras, points).astype(np.float32) + np.float32(0.01))
    labels = predicted.clone().requires_grad_()
    predicted.requires_grad_()
    MultiviewLoss()(predicted, torch.from_numpy(cameras), labels).total.backward()
    assert labels.grad is None
    assert predicted.grad is not None
    assert predicted.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, c, y: (p[:, :67], c, y[:, :67]), r"points: expected shape \(n, 68, 2\), got \(6, 67, 2\)"),
        (lambda p, c, y: (p, c[:, :2], y), r"cameras: expected shape \(6, 3, 4\), got \(6, 2, 4\)"),
        (lambda p, c, y: (p, c, y[:5]), r"labels: expected shape \(6, 68, 2\), got \(5, 68, 2\)"),
        (lambda p, c, y: (p[:4], c[:4], y[:4]), "points: expected more than the 4 views triangulated from, got 4"),
    ],
)
def test_other_shapes_are_refused(points, change, message):
    cameras = affine()
    seen, matrix = tensors(project_reference(cameras, points), cameras)
    with pytest.raises(ValueError, match=message):
        MultiviewLoss()(*change(seen, matrix, seen))


def test_one_view_and_odd_numbers_are_refused(points):
    seen, matrix = tensors(project_reference(affine(), points), affine())
    with pytest.raises(ValueError, match="cameras: expected two views or more, got 1"):
        triangulate(matrix[:1], seen[:1])
    with pytest.raises(ValueError, match="source_views: expected two views or more, got 1"):
        MultiviewLoss(source_views=1)
    with pytest.raises(ValueError, match="jaw_weight: expected a weight of 0 or more, got nan"):
        MultiviewLoss(jaw_weight=float("nan"))
