import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.model.runtime import Model  # noqa: E402
from tddfa.scan.graph import make_graph  # noqa: E402
from tddfa.train.scan.export import one_graph, scan_onnx  # noqa: E402
from tddfa.train.scan.losses import adaptive_wing  # noqa: E402
from tddfa.train.scan.network import GraphBatch, ScanNetwork, soft_maximum  # noqa: E402


@pytest.fixture
def graphs(rng):
    return [make_graph(*rng.normal(size=(2, 150, 3))) for _ in range(2)]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ScanNetwork(width=16, layers=2, edge_width=8).eval()


def batch_of(graphs):
    names = ("features", "neighbours", "supers", "cells")
    return GraphBatch.of(*(torch.from_numpy(np.stack([getattr(g, name) for g in graphs])) for name in names))


def test_the_soft_maximum_and_its_gradient_are_those_of_plain_torch(graphs):
    batch = batch_of(graphs)
    values = torch.randn(300, 5, dtype=torch.float64, requires_grad=True)
    plain = values[batch.neighbours].exp().mean(dim=1).log()
    ours = soft_maximum(values, batch)
    torch.testing.assert_close(ours, plain)
    weights = torch.randn(300, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad((plain * weights).sum(), values)
    (actual,) = torch.autograd.grad((ours * weights).sum(), values)
    torch.testing.assert_close(actual, expected)


def test_scans_of_a_batch_do_not_mix(graphs, network):
    with torch.no_grad():
        together = network(batch_of(graphs))
        alone = torch.cat([network(one_graph(graph)) for graph in graphs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_onnx_equals_torch_for_any_number_of_points(network, rng, tmp_path):
    path = tmp_path / "scan.onnx"
    path.write_bytes(scan_onnx(network, {"licence": "MIT"}))
    model = Model(path, device="cpu")
    for count in (40, 333):
        graph = make_graph(*rng.normal(size=(2, count, 3)))
        with torch.no_grad():
            expected = network(one_graph(graph)).numpy()
        actual = model.run(vars(graph))["heat"]
        assert actual.shape == (count, 68)
        np.testing.assert_allclose(actual, expected, atol=1e-4 * max(abs(expected).max(), 1))


def wing_by_hand(y, p):
    omega, theta, epsilon, alpha = 14.0, 0.5, 1.0, 2.1
    away = abs(y - p)
    if away < theta:
        return omega * np.log(1 + (away / epsilon) ** (alpha - y))
    ratio = theta / epsilon
    slope = omega / (1 + ratio ** (alpha - y)) * (alpha - y) * ratio ** (alpha - y - 1) / epsilon
    return slope * away - (theta * slope - omega * np.log(1 + ratio ** (alpha - y)))


@pytest.mark.parametrize(("target", "predicted"), [(0.0, 0.3), (0.05, 0.9), (0.8, 0.7), (1.0, 0.1), (0.5, -0.4)])
def test_the_loss_is_that_of_the_paper(target, predicted):
    actual = adaptive_wing(torch.tensor([[predicted]]), torch.tensor([[target]]))
    assert float(actual) == pytest.approx(wing_by_hand(target, predicted) * (51 if target > 0.1 else 1), rel=1e-4)
