import dataclasses
import json
import math
import os
import signal
import threading
from itertools import count

import pytest

torch = pytest.importorskip("torch")

from tddfa.train.engine.checkpoint import CheckpointError, load_checkpoint, load_network, save_checkpoint  # noqa: E402
from tddfa.train.engine.loop import BEST, CHECKPOINT, LOG, train  # noqa: E402
from tddfa.train.engine.settings import Schedule  # noqa: E402

SCHEDULE = Schedule(steps=40, batch_size=8, learning_rate=0.1, ema_decay=0.9, validate_every=10, log_every=5)


class Line:
    """Learns y = 3 x - 2; its network has BatchNorm, so that there are statistics to keep."""

    kind = "line"

    def __init__(self, look_ahead=0):
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.Linear(1, 1))
        self.look_ahead = look_ahead
        self.objectives = {"square": self.square, "wrong": self.wrong}
        self.seen = []

    def square(self, number):
        self.seen.append(number)
        x = torch.randn(8, 1, generator=torch.Generator().manual_seed(number))
        return {"fit": (self.network(x) - 3 * x + 2).square().mean(), "decay": 0 * self.network[1].weight.sum()}

    def wrong(self, number):
        x = torch.randn(8, 1, generator=torch.Generator().manual_seed(number))
        return {"fit": (self.network(x) + 3 * x - 2).square().mean()}

    def judge(self, number):
        return float(self.square(number)["fit"].detach())

    @torch.no_grad()
    def validate(self, network):
        assert not network.training
        x = torch.linspace(-1, 1, 9)[:, None]
        return {"error": float((network(x) - 3 * x + 2).abs().mean())}

    def describe(self):
        return {"inputs": 1}


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def run(folder, task=None, schedule=SCHEDULE, resume=False, batches=count):
    task = Line() if task is None else task
    return task, train(task, batches, schedule, folder, resume=resume, show=False)


def test_the_loss_falls_and_is_logged(tmp_path):
    _, outcome = run(tmp_path / "a")
    assert outcome.finished and outcome.steps == 40 and outcome.samples == 320
    assert outcome.last_loss < 0.5 * outcome.first_loss
    assert outcome.best["error"] == min(line["error"] for line in lines(tmp_path / "a") if line["part"] == "validation")
    trained = [line for line in lines(tmp_path / "a") if line["part"] == "train"]
    assert [line["step"] for line in trained] == list(range(5, 41, 5))
    assert all(line["loss"] == pytest.approx(line["fit"] + line["decay"]) for line in trained)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    states = [run(tmp_path / name)[0].network.state_dict() for name in "ab"]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole, _ = run(tmp_path / "whole")

    def stopping(start):
        for number in count(start):
            if number == 17:
                os.kill(os.getpid(), signal.SIGTERM)
            yield number

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    first, outcome = run(tmp_path / "parts", batches=stopping)
    assert not outcome.finished and outcome.steps == 18, "the step it was at is finished"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    second, outcome = run(tmp_path / "parts", resume=True)
    assert outcome.finished and outcome.steps == 40
    assert first.seen + second.seen == whole.seen == list(range(40))
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])
    states = [load_checkpoint(tmp_path / name / CHECKPOINT, "line") for name in ("whole", "parts")]
    for name, value in states[0]["average"].items():
        assert torch.equal(value, states[1]["average"][name])
    assert [line["step"] for line in lines(tmp_path / "parts") if line["part"] == "validation"] == [10, 20, 30, 40]


def test_control_c_stops_after_a_step(tmp_path):
    def stopping(start):
        for number in count(start):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield number

    _, outcome = run(tmp_path, batches=stopping)
    assert outcome.steps == 4 and not outcome.finished
    assert (tmp_path / CHECKPOINT).is_file()


def test_it_runs_in_another_thread_too(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path)))
    thread.start()
    thread.join()
    assert results[0][1].finished


def test_a_finished_training_takes_no_more_steps(tmp_path):
    run(tmp_path)
    task, outcome = run(tmp_path, resume=True)
    assert outcome.finished and outcome.steps == 40 and task.seen in ([], [40])


def test_time_ends_it_and_the_learning_rate_falls_with_time(tmp_path, monkeypatch):
    seconds = count()
    monkeypatch.setattr("tddfa.train.engine.loop.time.monotonic", lambda: float(next(seconds)))
    _, outcome = run(tmp_path, schedule=dataclasses.replace(SCHEDULE, steps=10**9, minutes=0.5, log_every=1))
    # one second per step, and two for each of two validations
    assert outcome.finished and 26 <= outcome.steps <= 30
    rates = [line["learning_rate"] for line in lines(tmp_path) if line["part"] == "train"]
    assert rates[-1] < 0.05 * max(rates)


def test_the_stream_is_closed(tmp_path):
    closed = []

    def batches(start):
        try:
            yield from count(start)
        finally:
            closed.append(True)

    run(tmp_path, batches=batches)
    assert closed == [True]


def test_a_training_is_not_overwritten(tmp_path):
    run(tmp_path)
    with pytest.raises(FileExistsError, match="a training is there already; resume it"):
        run(tmp_path)


def test_resuming_needs_a_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        run(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "circle"}, "expected a checkpoint of a line, got one of a 'circle'"),
        ({"describe": {"inputs": 2}}, "expected a network"),
        ({"network": {}}, "not a complete checkpoint"),
        ({"optimizer": {}}, "not a complete checkpoint"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(tmp_path, change, message):
    run(tmp_path)
    state = load_checkpoint(tmp_path / CHECKPOINT, "line")
    save_checkpoint(tmp_path / CHECKPOINT, state | change)
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path, resume=True)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    path = tmp_path / CHECKPOINT
    for data in (b"", b"nothing", (b"PK\x03\x04" + b"0" * 100)):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=CHECKPOINT):
            load_checkpoint(path, "line")
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="format 1"):
        load_checkpoint(path, "line")


def stack(layers):
    return torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(layers)))


def test_a_network_is_built_with_the_weights_of_its_checkpoint(tmp_path):
    network = stack(2)
    save_checkpoint(tmp_path / BEST, {"kind": "stack", "describe": 2, "network": network.state_dict()})
    read = load_network(tmp_path / BEST, "stack", stack)
    assert all(torch.equal(got, network.state_dict()[name]) for name, got in read.state_dict().items())


def test_a_number_of_layers_that_takes_for_ever_is_refused(tmp_path):
    save_checkpoint(tmp_path / BEST, {"kind": "stack", "describe": 10**12, "network": stack(2).state_dict()})
    with pytest.raises(CheckpointError, match="many more than the 4 tensors"):
        load_network(tmp_path / BEST, "stack", stack)


def test_loading_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"format": 1, "kind": "line", "evil": Evil()}, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / CHECKPOINT, "line")
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {"kind": "line", "value": 1})
    with pytest.raises((TypeError, AttributeError, RuntimeError)):
        save_checkpoint(tmp_path / "a.pt", {"kind": "line", "value": lambda: 1})
    assert load_checkpoint(tmp_path / "a.pt", "line")["value"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_the_best_is_kept_not_the_last(tmp_path):
    class Worsening(Line):
        errors = iter([3.0, 1.0, 2.0, 5.0])

        def validate(self, network):
            return {"error": next(self.errors)}

    _, outcome = run(tmp_path, Worsening())
    assert outcome.best == {"error": 1.0} and outcome.validation == {"error": 5.0}
    assert load_checkpoint(tmp_path / BEST, "line")["step"] == 20


def test_a_step_without_a_finite_gradient_is_skipped(tmp_path, caplog):
    class Holed(Line):
        def square(self, number):
            terms = super().square(number)
            return {"fit": terms["fit"] * (math.nan if number == 7 else 1)}

    task, outcome = run(tmp_path, Holed())
    assert outcome.finished and math.isfinite(outcome.last_loss)
    assert all(torch.isfinite(value).all() for value in task.network.state_dict().values())
    assert "step 8 is skipped" in caplog.text


def test_many_steps_without_a_finite_gradient_end_it(tmp_path):
    class Broken(Line):
        def square(self, number):
            return {"fit": super().square(number)["fit"] * math.nan}

    with pytest.raises(FloatingPointError, match="20 steps in a row"):
        run(tmp_path, Broken())


def test_looking_ahead_follows_the_better_objective(tmp_path):
    task, outcome = run(tmp_path, Line(look_ahead=2))
    assert outcome.steps == 40
    trained = [line for line in lines(tmp_path) if line["part"] == "train"]
    assert sum(line["won_square"] for line in trained) > sum(line["won_wrong"] for line in trained)
    assert outcome.best["error"] < 1
    # of three batches, two are stepped on and one judges both
    assert max(task.seen) == 59
