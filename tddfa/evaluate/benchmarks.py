"""The benchmarks by name; a module is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

MODULES = {
    "aflw2000-3d": "tddfa.evaluate.aflw2000",
    "aflw": "tddfa.evaluate.aflw",
    "300w": "tddfa.evaluate.ibug",
    "biwi": "tddfa.evaluate.biwi",
    "detection": "tddfa.evaluate.detection",
    "negatives": "tddfa.evaluate.negatives",
    "jitter": "tddfa.evaluate.jitter",
    "latency": "tddfa.evaluate.latency",
    "multiview": "tddfa.evaluate.multiview",
    "scans": "tddfa.evaluate.scans",
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
