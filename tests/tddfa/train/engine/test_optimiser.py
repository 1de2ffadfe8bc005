import pytest

torch = pytest.importorskip("torch")

from tddfa.train.engine.optimiser import MovingAverage, learning_rate_at, make_optimizer  # noqa: E402
from tddfa.train.engine.settings import Schedule  # noqa: E402


def test_the_rate_rises_and_falls():
    schedule = Schedule(learning_rate=2.0, warmup_fraction=0.1, final_lr_ratio=0.01)
    assert learning_rate_at(0.05, schedule) == pytest.approx(1.0)
    assert learning_rate_at(0.1, schedule) == pytest.approx(2.0)
    assert learning_rate_at(0.55, schedule) == pytest.approx(2.0 * (0.01 + 0.99 / 2))
    assert learning_rate_at(1.0, schedule) == learning_rate_at(1.7, schedule) == pytest.approx(0.02)
    assert learning_rate_at(0.0, Schedule(learning_rate=2.0, warmup_fraction=0.0)) == pytest.approx(2.0)


def test_the_average_forgets_its_start_and_then_decays():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.0)
    average = MovingAverage(network, 0.9)
    torch.nn.init.constant_(network.weight, 1.0)
    wanted = 0.0
    for step in range(1, 120):
        average.update(network)
        share = 1 - min(0.9, (1 + step) / (10 + step))
        wanted += share * (1 - wanted)
    assert float(average.network.weight.item()) == pytest.approx(wanted, rel=1e-5)
    assert network.weight.requires_grad and not average.network.weight.requires_grad


def test_biases_and_batch_norm_do_not_decay():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    groups = make_optimizer(network, Schedule(weight_decay=0.1)).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.1, 1), (0.0, 3)]
