import sys
from pathlib import Path

import numpy as np
import pytest

from tddfa.bench import process_memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_peak_includes_memory_already_freed():
    before = process_memory.resident_mb()
    block = np.ones(200_000_000, np.uint8)
    assert process_memory.resident_mb() > before + 150
    del block
    assert process_memory.peak_mb() >= before + 150


def test_none_where_the_system_does_not_report_it(monkeypatch):
    monkeypatch.setattr(process_memory, "Path", lambda _: Path("/no/such/file"))
    monkeypatch.setattr(sys, "platform", "win32")
    assert process_memory.peak_mb() is None
    assert process_memory.resident_mb() is None
    assert process_memory.peak_mb(1) is None
