import importlib
import re
import sys
import types

import pytest

from tddfa.cli import main
from tddfa.evaluate import benchmarks
from tddfa.evaluate.report import page
from tddfa.evaluate.result import Figure, Result


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_every_benchmark_has_a_record_and_a_module(name):
    record = benchmarks.benchmark(name)
    assert record.name == name
    assert 0 < len(record.data) < 125
    assert record.summary.endswith(".")
    assert all(end > 0 and label for label, end in record.axes.values())
    assert callable(importlib.import_module(record.module).evaluate)


def test_a_benchmark_is_one_row_of_the_table(monkeypatch, capsys):
    """A new benchmark needs its module and its record, and no other change."""
    made = types.ModuleType("made_up", "A made-up benchmark.\n\nMore.")
    made.evaluate = lambda setup, video=None: Result("made-up", {"video": video}, [Figure("x", "x", 1.0)])
    monkeypatch.setitem(sys.modules, "made_up", made)
    record = benchmarks.Benchmark("made-up", "made_up", data="none at all", options=("video",))
    monkeypatch.setitem(benchmarks.BENCHMARKS, "made-up", record)
    assert benchmarks.benchmark("made-up").evaluate(None, video="a.mp4").settings == {"video": "a.mp4"}
    assert "A made-up benchmark." in page.markdown({"model": {"made-up": record.evaluate(None)}})
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "made-up      none at all" in capsys.readouterr().out


def test_an_unknown_name_lists_the_benchmarks():
    with pytest.raises(
        ValueError, match=re.escape(f"aflw3000: no such benchmark; there are {', '.join(benchmarks.BENCHMARKS)}")
    ):
        benchmarks.benchmark("aflw3000")
