import pytest

from tddfa.evaluate import benchmarks
from tddfa.evaluate.report.words import WORDS, better


def test_every_benchmark_has_its_words():
    assert list(WORDS) == list(benchmarks.MODULES)
    for words in WORDS.values():
        assert words.data
        assert len(words.data) < 125
        assert all(end > 0 and what for what, end in words.errors.values())


@pytest.mark.parametrize(
    ("label", "unit", "arrow"),
    [
        ("NME, eyes", "%", "↓"),
        ("AUC to 8 %, all 68 points", "%", "↑"),
        ("failures over 8 %", "%", "↓"),
        ("eye openness (EAR), mean error", "", "↓"),
        ("eye openness (EAR), correlation", "", "↑"),
        ("faces missed by the detector", "photos", "↓"),
        ("all faces", "faces", ""),
        ("constant of pitch (median)", "deg", ""),
        ("lag", "frames", ""),
        ("network, batch 8, 1 thread: throughput", "faces/s", "↑"),
        ("rendered, turn: jitter of the truth", "%", ""),
    ],
)
def test_which_way_is_better(label, unit, arrow):
    assert better(label, unit) == arrow
