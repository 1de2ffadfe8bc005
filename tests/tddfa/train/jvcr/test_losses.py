import pytest

torch = pytest.importorskip("torch")

from tddfa.train.jvcr import losses  # noqa: E402


def test_coordinates_that_are_not_known_are_not_scored():
    target = torch.zeros(2, 71, 3)
    target[1, :, 2] = torch.nan  # a photo with 2D landmarks
    weights = losses.point_weights(1, 1)
    off = target.nan_to_num().clone()
    off[1, :, 2] = 100.0
    off[1, :17] = 50.0  # its jaw
    assert float(losses.coordinate_loss(off, target, 128, weights)) == 0
    off[0, 3] = 12.7
    expected = 3 * 0.1**2 / (71 * 3 + 54 * 2)
    assert float(losses.coordinate_loss(off, target, 128, weights)) == pytest.approx(expected)
    assert float(losses.coordinate_loss(off, target, 128, weights, "l1")) == pytest.approx(10 * expected)


def test_weights_have_mean_1():
    weights = losses.point_weights(2.0, 3.0)
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights[36] / weights[0]) == pytest.approx(2)
    assert float(weights[70] / weights[0]) == pytest.approx(3)


def test_a_volume_without_depth_is_compared_by_its_maximum():
    target = torch.zeros(1, 4, 2, 2)
    target[0, 0, 1, 1] = 1
    predicted = torch.zeros(1, 4, 2, 2)
    predicted[0, 3, 1, 1] = 1  # in another slice
    deep, flat = torch.tensor([True]), torch.tensor([False])
    assert float(losses.volume_loss(predicted, target, flat)) == 0
    assert float(losses.volume_loss(predicted, target, deep)) == pytest.approx(2 / 16)
    # one wrong pixel weighs as much as one wrong voxel
    assert float(losses.volume_loss(torch.zeros_like(target), target, flat)) == pytest.approx(1 / 16)
    assert float(losses.volume_loss(torch.zeros_like(target), target, deep)) == pytest.approx(1 / 16)


def test_the_foreground_weighs_more():
    target = torch.tensor([[[[1.0, 0.0]]]])
    wrong = torch.tensor([[[[0.0, 0.0]]]])
    assert float(losses.volume_loss(wrong, target, torch.tensor([True]), 10)) == pytest.approx(11 / 2)
