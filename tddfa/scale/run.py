"""`run`: a job from its sources to the files of its folder."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from tddfa.scale import job as layout
from tddfa.scale import tables
from tddfa.scale.attempts import forgive, noted
from tddfa.scale.engine import Cluster, execute
from tddfa.scale.items import Item
from tddfa.scale.job import Job
from tddfa.scale.lock import locked
from tddfa.scale.plan import Done, Plan, errors_of, finished, sweep, write_plan
from tddfa.scale.sources import list_items
from tddfa.scale.stores import Store, reached
from tddfa.scale.worker import Summary

Progress = Callable[[int], None]
"""Is called with the number of photos and videos that have been done since the last call."""


@dataclass
class Report:
    """Result of a run.

    Attributes
    ----------
    photos, videos, frames : int
        Done in this run; frames are those of videos.
    faces, errors : int
        Total in the folder, including earlier runs.
    new_errors : int
        In this run.
    shards, skipped : int
        Number of shards in the plan, and of shards that earlier runs had finished.
    stopped : bool
        Whether the run stopped because there were more errors than allowed.
    interrupted : bool
        Whether Ctrl-C or a signal ended the run.
    seconds, start_up : float
        `seconds` is the time of the work, including the time until the first shard was done. `start_up` is the part of
        it in which no shard was processed.
    """

    photos: int = 0
    videos: int = 0
    frames: int = 0
    faces: int = 0
    errors: int = 0
    new_errors: int = 0
    shards: int = 0
    skipped: int = 0
    stopped: bool = False
    interrupted: bool = False
    seconds: float = 0.0
    start_up: float = 0.0


def run(
    job: Job,
    cluster: Cluster | None = None,
    *,
    max_errors: int | None = None,
    retry_errors: bool = False,
    planned: Callable[[Plan], None] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Find and align the faces of all photos and videos of a job. Shards that are done are skipped.

    Parameters
    ----------
    job : Job
    cluster : Cluster, optional
        Where the work is done. None takes the cores of this machine.
    max_errors : int, optional
        Stop when this run has had more errors; what is done is kept.
    retry_errors : bool
        Do shards with errors again.
    planned : callable, optional
        Is called with the plan.
    progress : callable, optional
        Is called as photos and videos are done.

    Returns
    -------
    Report
        Ctrl-C ends a run with a report too.

    Raises
    ------
    MixedError
        If the folder holds something else.
    LockedError
        If another run writes to it.
    FileNotFoundError, ValueError
        If a source is missing or cannot be read, or if there is no photo and no video.
    OSError
        If results cannot be written.

    Examples
    --------
    >>> import pyarrow.parquet
    >>> from tddfa.scale import Cluster, Job, run
    >>> report = run(Job(["examples/inputs/astronaut.jpg"], str(tmp / "out")), Cluster(workers=0))
    >>> report.photos, report.faces
    (1, 1)
    >>> pyarrow.parquet.read_table(tmp / "out/faces").column("path").to_pylist()
    ['examples/inputs/astronaut.jpg']
    """
    store = Store(job.out)
    identity = job.identity()
    layout.check(store, identity)
    begin = time.perf_counter()
    with locked(store) as lock:
        layout.check(store, identity)  # another run may have been faster
        items = itertools.chain.from_iterable(_listed(source, job) for source in job.sources)
        plan = write_plan(store, _some(items, job), job.shard_size)
        store.write(layout.JOB, json.dumps(identity, indent=1).encode())
        done = sweep(store, plan, retry_errors=retry_errors)
        if planned is not None:
            planned(plan)
        report = Report(shards=len(plan.tasks), skipped=len(done))
        before = noted(store)
        todo = [task for task in plan.tasks if task.shard not in done]
        try:
            with closing(execute(job, identity, todo, cluster or Cluster())) as summaries:
                for summary in summaries:
                    lock.check()
                    _count(report, summary, time.perf_counter() - begin)
                    if progress is not None:
                        progress(summary.photos + summary.videos)
                    if max_errors is not None and report.new_errors > max_errors:
                        report.stopped = True
                        break
        except KeyboardInterrupt:
            report.interrupted = True
        finally:
            lock.check()  # what is noted now may be of another run
            if isinstance(sys.exc_info()[1], Exception) or report.stopped or report.interrupted:
                forgive(store, before)
            done = dict(finished(store))
            _write_errors(store, done)
        report.faces = sum(entry.faces for entry in done.values())
        report.errors = sum(entry.errors for entry in done.values())
    report.seconds = time.perf_counter() - begin
    return report


def _listed(source: str, job: Job) -> Iterator[Item]:
    with reached(source):
        yield from list_items(source, column=job.column)


def _some(items: itertools.chain[Item], job: Job) -> itertools.chain[Item]:
    """Give the items if there is one."""
    first = next(items, None)
    if first is None:
        hint = "; for a folder of .parquet or .tar files, give a pattern such as 'folder/*.tar'"
        raise ValueError(f"{', '.join(job.sources)}: no photo and no video{hint}")
    return itertools.chain([first], items)


def _count(report: Report, summary: Summary, elapsed: float) -> None:
    if not report.photos + report.videos:
        report.start_up = max(elapsed - summary.seconds, 0.0)
    report.photos += summary.photos
    report.videos += summary.videos
    report.frames += summary.frames
    report.new_errors += summary.errors


def _write_errors(store: Store, done: dict[int, Done]) -> None:
    """Write the errors of all shards into one table."""
    with store.new_file(layout.ERRORS) as part, tables.TableFile(part, tables.ERRORS) as table:
        for rows in errors_of(store, done):
            table.add(rows)
