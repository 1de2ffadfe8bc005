"""Apple's 52 blendshapes from the 55 expressions of the open face model, as a table of weights.

``arkit = clip(table @ expression, 0, 1)``. Differences between the two sets:

- ``browInnerUp`` and ``cheekPuff`` are one shape in ARKit and two here, left and right: ARKit's is their mean.
- ``cheekRaiserLeft`` and ``cheekRaiserRight`` are not in ARKit: they add to ``cheekSquint`` of their side.
- ``tongueOut`` is not in the model: it is 0.
- All other names are the same.

The names and what they mean: `tddfa.model.arkit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tddfa.model.arkit import ARKIT_NAMES
from tddfa.modelling.draft import Draft

_MEANS = ("browInnerUp", "cheekPuff")
_ADDED = {"cheekSquintLeft": "cheekRaiserLeft", "cheekSquintRight": "cheekRaiserRight"}
_ABSENT = ("tongueOut",)


def arkit_table(expression_names: Sequence[str]) -> NDArray[np.float32]:
    """Weights (52, e) that give ARKit's shapes from expressions of these names."""
    table = np.zeros((len(ARKIT_NAMES), len(expression_names)), dtype=np.float32)
    column = {name: k for k, name in enumerate(expression_names)}
    for row, name in enumerate(ARKIT_NAMES):
        if name in _MEANS:
            table[row, [column[f"{name}Left"], column[f"{name}Right"]]] = 0.5
        elif name not in _ABSENT:
            table[row, column[name]] = 1
            if name in _ADDED:
                table[row, column[_ADDED[name]]] = 1
    return table


def with_arkit(draft: Draft) -> Draft:
    """Add ``arkit_names (52,)`` and ``arkit_table (52, e)``."""
    names = draft.extra["expression_names"].tolist()
    extra = {"arkit_names": np.array(ARKIT_NAMES), "arkit_table": arkit_table(names)}
    return replace(draft, extra={**draft.extra, **extra})
