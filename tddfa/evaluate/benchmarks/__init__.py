"""The benchmarks by name; a module is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

MODULES = {
    "aflw2000-3d": "tddfa.evaluate.benchmarks.aflw2000",
    "aflw": "tddfa.evaluate.benchmarks.aflw",
    "300w": "tddfa.evaluate.benchmarks.ibug",
    "biwi": "tddfa.evaluate.benchmarks.biwi",
    "detection": "tddfa.evaluate.benchmarks.detection",
    "negatives": "tddfa.evaluate.benchmarks.negatives",
    "jitter": "tddfa.evaluate.benchmarks.jitter",
    "latency": "tddfa.evaluate.benchmarks.latency",
    "multiview": "tddfa.evaluate.benchmarks.multiview",
    "scans": "tddfa.evaluate.benchmarks.scans",
}
"""Name on the command line -> module, in the order in which they are run and shown."""


def module(name: str) -> Any:
    """The module of a benchmark: it has ``NAME``, ``LAYOUT`` and ``evaluate(setup, **options) -> Result``.

    Raises
    ------
    ValueError
        If there is no benchmark of that name; the message lists them.
    """
    if name not in MODULES:
        raise ValueError(f"{name}: no such benchmark; there are {', '.join(MODULES)}")
    return importlib.import_module(MODULES[name])
