"""Runs by Ray Data on a cluster of this machine: the same rows as in one process, also when workers are killed."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from builders_scale import errors, faces, manifests, sorted_rows

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")
pytest.importorskip("ray")

import ray

from tddfa.scale import Cluster, Job
from tddfa.scale import engine as engines
from tddfa.scale.engine import EngineError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray's, of its own options
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_give_the_rows_of_one_process(
    do, photos, tmp_path, ray_cluster, monkeypatch
):
    do(photos, out="one", shard_size=2, threads=1)
    seen = []
    real = engines.Summary

    def summary(**row):
        if not seen:
            os.kill(row["process"], signal.SIGKILL)  # a worker, in the middle of its next shard
        seen.append(row["process"])
        return real(**row)

    monkeypatch.setattr(engines, "Summary", summary)
    report = do(photos, out="two", shard_size=2, cluster=Cluster(workers=2, cpus_per_worker=1))
    assert len(set(seen)) > 1
    assert (report.photos, report.faces, report.errors) == (13, 10, 2)
    assert sorted_rows(faces(tmp_path / "two")) == sorted_rows(faces(tmp_path / "one"))
    assert errors(tmp_path / "two") == errors(tmp_path / "one")
    assert len(manifests(tmp_path / "two")) == 7
    assert os.environ[engines.USAGE] == "0"


@pytest.mark.parametrize(
    ("there", "cluster", "room"),
    [
        ({"CPU": 8.0}, Cluster(), 8),
        ({"CPU": 8.0}, Cluster(cpus_per_worker=3), 2),
        ({"CPU": 8.0, "GPU": 1.0}, Cluster(gpus_per_worker=0.25), 4),
        ({"CPU": 8.0, "GPU": 4.0}, Cluster(gpus_per_worker=0.25, decode_cpus=3), 2),
    ],
)
def test_as_many_workers_as_there_is_room_for(there, cluster, room):
    assert engines._room(SimpleNamespace(cluster_resources=lambda: there), cluster) == room


def test_a_cluster_without_room_for_a_worker_is_an_error():
    small = SimpleNamespace(cluster_resources=lambda: {"CPU": 2.0})
    with pytest.raises(EngineError, match="has 2 CPUs and 0 GPUs, but a worker takes 1 and 1"):
        engines._room(small, Cluster(gpus_per_worker=1))


@pytest.mark.slow
def test_four_workers_give_the_rows_of_one_process(do, photos, tmp_path, ray_cluster):
    do(photos, out="one", shard_size=1, threads=1)
    do(photos, out="four", shard_size=1, cluster=Cluster(workers=4, cpus_per_worker=0.5))
    assert sorted_rows(faces(tmp_path / "four")) == sorted_rows(faces(tmp_path / "one"))


@pytest.mark.slow
def test_photos_that_other_processes_decode(do, photos, tmp_path, ray_cluster):
    do(photos, out="one", threads=1)
    do(photos, out="two", cluster=Cluster(workers=1, cpus_per_worker=0.5, decode_cpus=1))
    assert sorted_rows(faces(tmp_path / "two")) == sorted_rows(faces(tmp_path / "one"))
    assert errors(tmp_path / "two") == errors(tmp_path / "one")
    with pytest.raises(EngineError, match="workers: expected at most 1, so that a CPU is left to decode, got 2"):
        do(photos, out="three", cluster=Cluster(workers=2, cpus_per_worker=0.5, decode_cpus=1))


@pytest.mark.slow
def test_the_command_on_a_cluster_that_was_started_elsewhere(photos, tmp_path, ray_cluster):
    (tmp_path / "in").symlink_to(photos)
    command = [sys.executable, "-m", "tddfa", "scale", "in/face_0.png", "in/b/face_6.png", "--out", "out"]
    done = subprocess.run(
        [*command, "--address", ray_cluster, "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("2 photos done; ")
    assert [row["path"] for row in faces(tmp_path / "out")] == ["in/face_0.png", "in/b/face_6.png"]
    assert ray.is_initialized()  # the cluster goes on


@pytest.mark.slow
def test_an_error_of_a_worker_is_that_of_the_run(do, photos, tmp_path, ray_cluster, monkeypatch):
    real = Job.identity
    monkeypatch.setattr(Job, "identity", lambda self: real(self) | {"model": "0" * 64})
    with pytest.raises(EngineError, match=r"^open_mb05: this machine has another model, or other settings of it, than"):
        do(photos, cluster=Cluster(workers=1))


class TestUsageStatistics:
    """Ray reads the variable when it starts a cluster."""

    @pytest.fixture
    def started(self, monkeypatch):
        """The environment with which Ray was started."""
        seen = []

        def init(**options):
            seen.append(dict(os.environ))
            raise ConnectionError("enough")

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", init)
        return seen

    def test_they_are_off(self, do, photos, started, monkeypatch):
        monkeypatch.delenv(engines.USAGE, raising=False)
        with pytest.raises(EngineError, match="local: no Ray cluster can be reached there: enough"):
            do(photos, cluster=Cluster(workers=1))
        assert started[0][engines.USAGE] == "0"

    def test_the_user_can_turn_them_on(self, do, photos, started, monkeypatch):
        monkeypatch.setenv(engines.USAGE, "1")
        with pytest.raises(EngineError):
            do(photos, cluster=Cluster(workers=1))
        assert started[0][engines.USAGE] == "1"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"workers": -1}, "workers: expected 0 or more, got -1"),
        ({"cpus_per_worker": 0}, "cpus_per_worker: expected a number over 0, got 0"),
        ({"gpus_per_worker": -1}, "gpus_per_worker: expected a number from 0, got -1"),
        ({"decode_cpus": -1}, "decode_cpus: expected 0 or more, got -1"),
    ],
)
def test_numbers_of_a_cluster(options, named):
    with pytest.raises(ValueError, match=named):
        Cluster(**options)
