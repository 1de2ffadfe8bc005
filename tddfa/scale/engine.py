"""Tasks to summaries: in this process, or by Ray Data on the cores and machines of a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow

from tddfa._shared import opencv_log
from tddfa._shared.errors import TddfaError, reason
from tddfa._shared.packages import needs
from tddfa.model.assets import WEIGHTS_VARIABLE
from tddfa.scale.items import Item
from tddfa.scale.job import Job
from tddfa.scale.plan import Task
from tddfa.scale.reading import Decoders, Loaded, load
from tddfa.scale.worker import Summary, Worker

USAGE = "RAY_USAGE_STATS_ENABLED"
"""Environment variable of Ray's usage statistics, which are off unless the user sets it."""

_COLUMNS = {int: pyarrow.int64(), float: pyarrow.float64()}
_MIB = 1 << 20
_MAX_BLOCKS = 4096  # the driver keeps a reference to each
_BLOCKS_PER_WORKER = 8
_OBJECT_STORE = 128 * _MIB  # of a cluster of this machine, if only tasks and summaries go through it


_RESULTS = pyarrow.schema(
    [
        ("summary", pyarrow.struct([(name, _COLUMNS[kind]) for name, kind in get_type_hints(Summary).items()])),
        ("failure", pyarrow.string()),
    ]
)


class EngineError(TddfaError, RuntimeError):
    """Ray could not do a shard, or cannot be reached."""


@dataclass(frozen=True)
class Cluster:
    """Where the work is done.

    Attributes
    ----------
    workers : int or None
        Processes with a model each; 0 does everything in this process, without Ray. None takes as many as the cluster
        has room for.
    address : str or None
        Address of a Ray cluster, such as ``auto`` or ``10.0.0.1:6379``. None takes that of the environment variable
        ``RAY_ADDRESS``, else starts Ray on this machine, for this run.
    cpus_per_worker, gpus_per_worker : float
        CPUs and GPUs that one worker uses. Workers may share a GPU: 0.25 puts four workers on one GPU.
    decode_cpus : int
        Number of Ray tasks per worker, of one CPU each and on any machine, that decode photos. 0 decodes in threads of
        the worker, so that no image is sent between machines.

    Examples
    --------
    >>> from tddfa.scale import Cluster
    >>> Cluster(workers=0).address is None
    True
    """

    workers: int | None = None
    address: str | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    decode_cpus: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers: expected 0 or more, got {self.workers}")
        if not 0 < self.cpus_per_worker <= 1024:
            raise ValueError(f"cpus_per_worker: expected a number over 0, got {self.cpus_per_worker}")
        if not 0 <= self.gpus_per_worker <= 64:
            raise ValueError(f"gpus_per_worker: expected a number from 0, got {self.gpus_per_worker}")
        if self.decode_cpus < 0:
            raise ValueError(f"decode_cpus: expected 0 or more, got {self.decode_cpus}")


def execute(
    job: Job, identity: Mapping[str, Any], tasks: Sequence[Task], cluster: Cluster
) -> Generator[Summary, None, None]:
    """Process tasks in any order, and yield a summary of each finished task. Close the iterator to stop.

    Raises
    ------
    ImportError
        If Ray is missing; the message gives the pip command.
    EngineError
        If results cannot be written, a machine has another model, or the cluster cannot be reached.
    """
    if not tasks:
        return
    if cluster.workers == 0:
        worker = Worker(job, identity)
        for task in tasks:
            yield worker.run(task)
        return
    if job.threads is None:
        job = replace(job, threads=max(1, int(cluster.cpus_per_worker)))
    with _ray(cluster) as ray:
        yield from _on_cluster(ray, job, identity, tasks, cluster)


@contextlib.contextmanager
def _ray(cluster: Cluster) -> Iterator[Any]:
    """Yield Ray, connected to a given cluster, or to a cluster of this machine that ends with the block."""
    os.environ.setdefault(USAGE, "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else a restart of a worker prints a page
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(needs("tddfa scale", "ray[data]")) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # an error is raised too
    if ray.is_initialized():
        yield ray
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    if address == "local" and not cluster.decode_cpus:
        own["object_store_memory"] = _OBJECT_STORE
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _without_stderr():  # a line that this level was asked for
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineError(f"{address}: no Ray cluster can be reached there: {error}") from error
    try:
        for number, handler in handlers.items():  # Ray replaces them, and would end this process at once
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what native code prints: its errors are exceptions too."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - no path of a file
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _on_cluster(
    ray: Any, job: Job, identity: Mapping[str, Any], tasks: Sequence[Task], cluster: Cluster
) -> Iterator[Summary]:
    resources: dict[str, Any] = {"num_cpus": cluster.cpus_per_worker}
    if cluster.gpus_per_worker:
        resources["num_gpus"] = cluster.gpus_per_worker
    room = _room(ray, cluster)
    workers = min(room if cluster.workers is None else cluster.workers, len(tasks))
    if cluster.decode_cpus and workers > room:
        raise EngineError(f"workers: expected at most {room}, so that a CPU is left to decode, got {workers}")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the command has its own
    context.print_on_execution_start = False
    blocks = min(len(tasks), max(_MAX_BLOCKS, _BLOCKS_PER_WORKER * workers))
    dataset = ray.data.from_items([task._asdict() for task in tasks], override_num_blocks=blocks).map_batches(
        _Pooled,
        fn_constructor_args=(
            job,
            dict(identity),
            str(Path.cwd()),
            cluster.decode_cpus,
            os.environ.get(WEIGHTS_VARIABLE),
        ),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
        **resources,
    )
    tables = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    try:
        for table in tables:
            for row in table.to_pylist():
                if row["failure"] is not None:
                    raise EngineError(row["failure"])
                yield Summary(**row["summary"])
    except ray.exceptions.RayError as error:
        raise EngineError(f"Ray: {reason(error)}") from error


class _Pooled:
    """A worker for Ray Data. It takes a table with the fields of `Task`, and returns a table of summaries or a failure.

    Relative paths are those of the driver's working folder, also on a cluster that was started elsewhere.

    An error is returned as a row. An exception would reach the driver as a page of text, or only after another try of
    the worker.
    """

    def __init__(
        self, job: Job, identity: Mapping[str, Any], folder: str, decode_cpus: int, weights: str | None
    ) -> None:
        self._job, self._identity, self._folder, self._decode_cpus = job, identity, folder, decode_cpus
        self._weights = weights
        self._worker: Worker | None = None

    def __call__(self, batch: Any) -> Any:
        rows: list[dict[str, Any]] = []
        try:
            if self._worker is None:
                os.chdir(self._folder)
                if self._weights is not None:  # the processes of a cluster have another environment
                    os.environ[WEIGHTS_VARIABLE] = self._weights
                self._worker = Worker(self._job, self._identity, self._decoders())
            for row in batch.to_pylist():
                rows.append({"summary": self._worker.run(Task(**row))._asdict(), "failure": None})
        except Exception as error:
            rows.append({"summary": None, "failure": reason(error)})
        return pyarrow.Table.from_pylist(rows, schema=_RESULTS)

    def _decoders(self) -> Decoders | None:
        """Decode photos as tasks of Ray: a decoder that crashes does not end the worker."""
        if not self._decode_cpus:
            return None
        import ray

        task = ray.remote(num_cpus=1, max_retries=1)(_decode)

        def submit(item: Item, row: bytes | str | None) -> Future[Loaded]:
            future: Future[Loaded] = task.remote(self._folder, item, row).future()
            return future

        return Decoders(submit, self._decode_cpus)


def _decode(folder: str, item: Item, row: bytes | str | None) -> Loaded:
    os.chdir(folder)
    opencv_log.silence()
    return load(item, row)


def _room(ray: Any, cluster: Cluster) -> int:
    """Number of workers for which the cluster has cores, and GPUs."""
    there = ray.cluster_resources()
    cpus = cluster.cpus_per_worker + cluster.decode_cpus
    room = there.get("CPU", 1) / cpus
    if cluster.gpus_per_worker:
        room = min(room, there.get("GPU", 0) / cluster.gpus_per_worker)
    if room < 1:
        raise EngineError(
            f"the cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs, but a worker takes "
            f"{cpus:g} and {cluster.gpus_per_worker:g}"
        )
    return int(room)
