from pathlib import Path

import pytest

from tddfa.bench import memory

LOADING = {"config": "open_mb05", "device": "cpu", "threads": 1}
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")


@pytest.fixture
def folders(bench_material, tmp_path):
    return {"material": bench_material.one.parent, "scratch": tmp_path}


@linux
def test_a_stage_loads_only_what_it_needs(folders):
    read, mesh = (memory.stage_peak_mb(name, LOADING, **folders) for name in ("read", "decode.dense"))
    assert 20 < read < mesh < 1000


@linux
def test_memory_does_not_grow_with_the_number_of_images(folders):
    # 27 images of 2.8 MB would be 75 MB
    assert memory.growth_mb(30, LOADING, **folders) < 30


def test_an_error_gives_a_reason_in_place_of_a_number(folders):
    reason = memory.stage_peak_mb("read", {**LOADING, "config": "no_such_model"}, **folders)
    assert isinstance(reason, str)
    assert "no_such_model" in reason
