"""A run of a job, and a cluster of this machine that the tests share."""

import os

import pytest


@pytest.fixture
def photos(scale_photos):
    return scale_photos


@pytest.fixture
def do(tmp_path):
    """Run a job, in this process without another word, with its folder below the temporary one."""
    pytest.importorskip("fsspec")
    pytest.importorskip("pyarrow")
    from tddfa.scale import Cluster, Job, run

    def do(*sources, out="out", cluster=None, **options):
        given = {name: options.pop(name) for name in ("max_errors", "retry_errors", "progress") if name in options}
        out = out if "://" in str(out) else tmp_path / out
        job = Job([str(source) for source in sources], str(out), **{"shard_size": 4, **options})
        return run(job, cluster or Cluster(workers=0), **given)

    return do


@pytest.fixture(scope="session")
def ray_cluster():
    """Address of a cluster of two CPUs."""
    ray = pytest.importorskip("ray")
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    ray.init(
        address="local", num_cpus=2, object_store_memory=80 << 20, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


# no statistics; no pages about killed workers; as fast as the tests
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_worker_niceness": "0"}
