import sys
from pathlib import Path

import numpy as np
import pytest

from tddfa.bench import memory

LOADING = {"config": "open_mb05", "device": "cpu", "threads": 1}
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")


@linux
def test_the_peak_is_what_was_once_held():
    before = memory.resident_mb()
    block = np.ones(200_000_000, np.uint8)
    assert memory.resident_mb() > before + 150
    del block
    assert memory.peak_mb() >= before + 150


@linux
def test_a_stage_takes_what_it_needs(pictures, tmp_path):
    read, mesh = (memory.of_stage(name, LOADING, pictures.one.parent, tmp_path) for name in ("read", "decode.dense"))
    assert 20 < read < mesh < 1000


@linux
def test_pictures_do_not_pile_up(pictures, tmp_path):
    grown = memory.growth(30, LOADING, pictures.one.parent, tmp_path)
    # 27 pictures of 2.8 MB would be 75
    assert grown < 30


def test_a_reason_in_place_of_a_number(pictures, tmp_path):
    reason = memory.of_stage("read", {**LOADING, "config": "no_such_model"}, pictures.one.parent, tmp_path)
    assert isinstance(reason, str)
    assert "no_such_model" in reason


def test_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(memory, "Path", lambda _: Path("/no/such/file"))
    monkeypatch.setattr(sys, "platform", "win32")
    assert memory.peak_mb() is None
    assert memory.resident_mb() is None
    assert memory.peak_mb(1) is None
