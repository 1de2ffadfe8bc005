import re

import pytest

from tddfa.evaluate import benchmarks


@pytest.mark.parametrize("name", benchmarks.MODULES)
def test_every_benchmark_has_its_shape(name):
    module = benchmarks.module(name)
    assert name == module.NAME
    assert module.LAYOUT
    assert callable(module.evaluate)


def test_a_wrong_name_lists_them():
    with pytest.raises(
        ValueError, match=re.escape(f"aflw3000: no such benchmark; there are {', '.join(benchmarks.MODULES)}")
    ):
        benchmarks.module("aflw3000")
