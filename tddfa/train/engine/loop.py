"""The training loop of all networks: schedule, moving average, checkpoints by time, validation, and a log.

A `Task` has the network and its losses; the loop is independent of both, and of the data.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from tddfa._shared.terminal.progress import progress_bar
from tddfa.train.engine.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, taken_from
from tddfa.train.engine.meta_joint import look_ahead
from tddfa.train.engine.optimiser import MovingAverage, learning_rate_at, load_moments, make_optimizer
from tddfa.train.engine.settings import Schedule

logger = logging.getLogger(__name__)

B = TypeVar("B")

CHECKPOINT, BEST, LOG = "checkpoint.pt", "best.pt", "log.jsonl"
# A step without a finite gradient is skipped; this many in a row end the training.
_MAX_SKIPPED = 20
# Steps or minutes end a training: the bar shows the fraction that is done.
_BAR = "{l_bar}{bar:20}| {elapsed}<{remaining}{postfix}"


class Task(Protocol[B]):
    """A network and its losses.

    Attributes
    ----------
    kind : str
        Kind of the network, stored in checkpoints.
    network : nn.Module
        On the device of the training.
    objectives : mapping of str to callable
        Loss of a batch, as named terms that are added. If there are several objectives, `look_ahead` batches decide
        which is followed; otherwise the first is.
    look_ahead : int
        Steps of meta-joint optimisation; 0 for none.
    """

    kind: str
    network: nn.Module
    objectives: Mapping[str, Callable[[B], dict[str, Tensor]]]
    look_ahead: int

    def judge(self, batch: B) -> float:
        """Error of the network, by which meta-joint optimisation chooses; lower is better."""

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure a network (in evaluation mode); the best network has the lowest ``error``."""

    def describe(self) -> dict[str, Any]:
        """What is needed to build the network again."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes
    ----------
    steps, samples : int
        In total, over all resumed runs.
    minutes : float
        In total, over all resumed runs.
    finished : bool
        False if it was stopped and can be resumed.
    first_loss, last_loss : float
        In the first and last line of this run's log; NaN if there is none.
    validation : dict of str to float
        Of the moving average, at the end.
    best : dict of str to float
        Of the best moving average, which is in ``best.pt``.
    start : dict of str to float
        Of the network before the first step; empty if that was not measured.
    """

    steps: int
    samples: int
    minutes: float
    finished: bool
    first_loss: float
    last_loss: float
    validation: dict[str, float]
    best: dict[str, float]
    start: dict[str, float] = field(default_factory=dict)


def train(
    task: Task[B],
    batches: Callable[[int], Iterator[B]],
    schedule: Schedule,
    out: Path,
    *,
    resume: bool = False,
    show: bool = True,
) -> Outcome:
    """Train, or resume a training.

    Ctrl-C and SIGTERM stop it after the current step, with a checkpoint.

    Parameters
    ----------
    task : Task
        Network and losses.
    batches : callable
        Makes the batches from a number on, without end.
    schedule : Schedule
        Duration and learning rate.
    out : Path
        Folder for ``checkpoint.pt`` (the whole state), ``best.pt`` (the best moving average), ``log.jsonl``
        and, where TensorBoard is installed, its events.
    resume : bool
        Continue from the folder's checkpoint.
    show : bool
        Print the validation, and show a progress bar if stderr is a terminal.

    Raises
    ------
    FileExistsError
        If there is a checkpoint and `resume` is False.
    FileNotFoundError, CheckpointError
        If `resume` is True and there is no checkpoint, or one of another kind.
    FloatingPointError
        If the gradient is not finite many times in a row.
    """
    if not resume and (out / CHECKPOINT).exists():
        raise FileExistsError(f"{out / CHECKPOINT}: a training is there already; resume it, or choose another folder")
    loop = _Loop(task, schedule, out)
    if resume:
        loop.restore()
    return loop.run(batches, show)


class _Loop(Generic[B]):
    def __init__(self, task: Task[B], schedule: Schedule, out: Path) -> None:
        self.task, self.schedule, self.out = task, schedule, out
        self.network = task.network
        self.optimizer = make_optimizer(task.network, schedule)
        self.average = MovingAverage(task.network, schedule.ema_decay)
        self.step = self.drawn = self.skipped = 0
        self.worked = 0.0
        self.best: dict[str, float] = {}
        self.terms: list[dict[str, Tensor]] = []
        self.winners: list[str] = []
        self.losses: list[float] = []

    def restore(self) -> None:
        path = self.out / CHECKPOINT
        state = load_checkpoint(path, self.task.kind)
        with taken_from(path):
            if state["describe"] != self.task.describe():
                raise CheckpointError(f"{path}: expected a network {self.task.describe()}, got {state['describe']}")
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            self.average.updates = int(state["updates"])
            load_moments(self.optimizer, state["optimizer"])
            self.step, self.drawn, self.worked = int(state["step"]), int(state["drawn"]), float(state["worked"])
            if min(self.step, self.drawn, self.average.updates) < 0 or not self.worked >= 0:
                counts = f"step {self.step}, drawn {self.drawn}, updates {self.average.updates}, worked {self.worked}"
                raise ValueError(f"expected counts of 0 or more, got {counts}")
            self.best = {str(name): float(value) for name, value in state["best"].items()}

    def save(self) -> None:
        save_checkpoint(
            self.out / CHECKPOINT,
            {
                "kind": self.task.kind,
                "describe": self.task.describe(),
                "network": self.network.state_dict(),
                "average": self.average.network.state_dict(),
                "updates": self.average.updates,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "drawn": self.drawn,
                "worked": self.worked,
                "best": self.best,
            },
        )

    def progress(self) -> float:
        by_time = self.worked / (60 * self.schedule.minutes) if self.schedule.minutes else 0.0
        return max(self.step / self.schedule.steps, by_time)

    def run(self, batches: Callable[[int], Iterator[B]], show: bool) -> Outcome:
        self.out.mkdir(parents=True, exist_ok=True)
        validation: dict[str, float] = {}
        with (
            _Log(self.out) as log,
            _stoppable(batches(self.drawn)) as (stream, stopped),
            progress_bar(100, show=show, initial=100 * self.progress(), mininterval=5, bar_format=_BAR) as bar,
        ):
            before = time.monotonic() - self.worked
            saved, logged, logged_step, checked, validated = self.worked, self.worked, self.step, self.step, -1
            while self.progress() < 1 and not stopped():
                self.advance(stream)
                self.worked = time.monotonic() - before
                bar.update(min(100 * self.progress(), 100) - bar.n)
                if self.step // self.schedule.log_every > logged_step // self.schedule.log_every:
                    speed = (self.step - logged_step) * self.schedule.batch_size / max(self.worked - logged, 1e-9)
                    self.write_log(log, bar, speed)
                    logged, logged_step = self.worked, self.step
                if self.step // self.schedule.validate_every > checked // self.schedule.validate_every:
                    validation = self.validate(log, bar, show)
                    checked = validated = self.step
                    self.worked = logged = time.monotonic() - before
                    logged_step = self.step
                if self.worked - saved > 60 * self.schedule.save_every_minutes:
                    self.save()
                    saved = self.worked
            finished = self.progress() >= 1
            if finished and validated != self.step:
                validation = self.validate(log, bar, show)
            self.save()
        first, last = (self.losses[0], self.losses[-1]) if self.losses else (math.nan, math.nan)
        return Outcome(
            self.step,
            self.step * self.schedule.batch_size,
            self.worked / 60,
            finished,
            first,
            last,
            validation,
            self.best,
        )

    def advance(self, stream: Iterator[B]) -> None:
        """Take a step, or those of meta-joint optimisation."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.progress(), self.schedule)
        if self.task.look_ahead:
            drawn = list(islice(stream, self.task.look_ahead + 1))
            self.drawn += len(drawn)

            def total(objective: Callable[[B], dict[str, Tensor]]) -> Callable[[B], Tensor]:
                return lambda batch: torch.stack(list(objective(batch).values())).sum()

            objectives = {name: total(objective) for name, objective in self.task.objectives.items()}
            winner, errors = look_ahead(
                self.network, self.optimizer, objectives, drawn[:-1], lambda: self.task.judge(drawn[-1]), self.clip
            )
            self.winners.append(winner)
            self.terms.append({f"ahead_{name}": torch.tensor(error) for name, error in errors.items()})
            self.step += self.task.look_ahead
        else:
            objective = next(iter(self.task.objectives.values()))
            terms = objective(next(stream))
            self.drawn += 1
            self.optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            self.step += 1
            if not math.isfinite(self.clip()):
                self.skipped += 1
                logger.warning("step %d is skipped: its gradient is not finite", self.step)
                if self.skipped >= _MAX_SKIPPED:
                    raise FloatingPointError(f"step {self.step}: {self.skipped} steps in a row had no finite gradient")
                return
            self.skipped = 0
            self.optimizer.step()
            self.terms.append({name: value.detach() for name, value in terms.items()})
        self.average.update(self.network)

    def clip(self) -> float:
        return float(nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.max_grad_norm))

    def write_log(self, log: _Log, bar: Any, speed: float) -> None:
        if not self.terms:
            return
        terms = {name: float(torch.stack([each[name] for each in self.terms]).mean()) for name in self.terms[0]}
        loss = sum(terms.values())
        self.losses.append(loss)
        extra = {f"won_{name}": self.winners.count(name) for name in self.task.objectives} if self.winners else {}
        log.write(
            "train",
            self.step,
            {
                "loss": loss,
                **terms,
                **extra,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "per_second": speed,
                "minutes": self.worked / 60,
            },
        )
        bar.set_postfix_str(f"step {self.step}, loss {loss:.3f}, {speed:.0f} samples/s", refresh=False)
        self.terms.clear()
        self.winners.clear()

    def validate(self, log: _Log, bar: Any, show: bool) -> dict[str, float]:
        values = self.task.validate(self.average.network)
        log.write("validation", self.step, {**values, "minutes": self.worked / 60})
        shown = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        if show:
            bar.write(f"step {self.step}, {self.worked / 60:.1f} min: {shown}")
        if math.isfinite(values["error"]) and (not self.best or values["error"] < self.best["error"]):
            self.best = dict(values)
            save_checkpoint(
                self.out / BEST,
                {
                    "kind": self.task.kind,
                    "describe": self.task.describe(),
                    "network": self.average.network.state_dict(),
                    "step": self.step,
                    "validation": values,
                },
            )
        return values


class _Log:
    """Lines of JSON, and TensorBoard events if TensorBoard is installed."""

    def __init__(self, out: Path) -> None:
        self.file = (out / LOG).open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board: Any = SummaryWriter(str(out))
        except ImportError:
            self.board = None

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()

    def write(self, part: str, step: int, values: Mapping[str, float]) -> None:
        self.file.write(json.dumps({"part": part, "step": step, **values}) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{part}/{name}", value, step)


@contextmanager
def _stoppable(stream: Iterator[B]) -> Iterator[tuple[Iterator[B], Callable[[], bool]]]:
    """Let Ctrl-C and SIGTERM end the loop between steps, not the processes that make its batches.

    Yields the started stream, and a function that tells whether to stop. Only the main thread can have signal handlers;
    in other threads, signals keep their effect.
    """
    requested = False

    def request_stop(*_: object) -> None:
        nonlocal requested
        requested = True

    def started() -> Iterator[B]:
        yield first
        yield from stream

    try:
        # processes that start now inherit it: a terminal sends Ctrl-C to all of them
        handlers = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    except ValueError:
        handlers = {}
    try:
        first = next(stream)
        if handlers:
            signal.signal(signal.SIGINT, request_stop)
            handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, request_stop)
        yield started(), lambda: requested
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
