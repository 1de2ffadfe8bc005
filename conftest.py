"""What the examples in docstrings may use without making it: pytest runs them (``pytest --doctest-modules``)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent
# training needs torch, an extra: without it its modules cannot be imported, and are not searched for examples
collect_ignore = [] if importlib.util.find_spec("torch") else ["tddfa/train", "tddfa/cli/train"]
# run by the Python of another toolkit, whose modules it imports
collect_ignore += ["tddfa/bench/peers", "setup.py"]


@pytest.fixture(scope="session")
def example() -> dict[str, object]:
    """An image and what the default model gives for it."""
    from tddfa import Aligner

    image = cv2.imread(str(ROOT / "examples/inputs/astronaut.jpg"))
    image.setflags(write=False)
    aligner = Aligner.load("open_mb05", device="cpu")
    face = aligner(image)[0]
    decoder = getattr(aligner, "decoder", aligner)
    return {"np": np, "image": image, "aligner": aligner, "face": face, "mesh": decoder.mesh(face)}


@pytest.fixture(autouse=True)
def _examples(request: pytest.FixtureRequest, doctest_namespace: dict[str, object]) -> None:
    """Put `np`, `image`, `aligner`, `face`, `mesh` and `tmp` into the namespace of every example."""
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace.update(request.getfixturevalue("example"))
        doctest_namespace["tmp"] = request.getfixturevalue("tmp_path")
