"""What the examples in docstrings may use without making it: pytest runs them (``pytest --doctest-modules``)."""

from __future__ import annotations

import gc
import importlib.util
import math
import re
import signal
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa._shared.packages import REQUIREMENTS

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that starts the tests in the background ignores Ctrl-C, and every command that a test starts would too
    signal.signal(signal.SIGINT, signal.default_int_handler)


ROOT = Path(__file__).resolve().parent
# training needs torch, an extra: without it its modules cannot be imported, and are not searched for examples
collect_ignore = [] if importlib.util.find_spec("torch") else ["tddfa/train", "tddfa/cli/train"]
# so do supervision and the service need packages of an extra
collect_ignore += [] if importlib.util.find_spec("supervision") else ["tddfa/integrations"]
served = all(importlib.util.find_spec(name) for name in ("fastapi", "prometheus_client", "python_multipart"))
collect_ignore += [] if served else ["tddfa/serve"]
scaled = all(importlib.util.find_spec(name) for name in ("fsspec", "pyarrow"))
collect_ignore += [] if scaled else ["tddfa/scale"]
collect_ignore += [] if importlib.util.find_spec("gradio") else ["tddfa/serve/page"]
# run by the Python of another toolkit, whose modules it imports
collect_ignore += ["tddfa/bench/peers", "benchmarks/mediapipe_teacher.py", "setup.py"]


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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the limits of the tests with hostile files, which run a few examples without them."""
    told = "minutes for the tests of the marker fuzz, together"
    parser.addoption("--fuzz-minutes", type=float, default=0.0, metavar="N", help=told)
    told = "examples after which each of them ends, whatever time is left (default: no limit)"
    parser.addoption("--fuzz-examples", type=float, default=math.inf, metavar="N", help=told)

    told = "how often the tests of kill -9 kill a command, together (default: %(default)s)"
    parser.addoption("--kills", type=int, default=30, metavar="N", help=told)

    told = "length of the tests of the marker soak, as a fraction of a whole one (default: short forms)"
    parser.addoption("--soak", type=float, default=0.0, metavar="F", help=told)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays until the end: thousands of tests, and the modules."""
    gc.collect()
    gc.freeze()


def how_to_run(reason: str) -> str:
    """What a skipped test needs, from the reason that it gave."""
    missing = re.search(r"could not import '(\w+)", reason)
    if missing is None:
        return reason.removeprefix("Skipped: ")
    if missing[1] == "torch":
        return "needs torch: pip install torch onnx"
    package = REQUIREMENTS.get(missing[1], missing[1])
    return f"needs {package}: pip install {package}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was skipped, and how to get it; tell figures of long runs."""
    figures = [
        (name, value, report.nodeid)
        for report in terminalreporter.stats.get("passed", ())
        for name, value in report.user_properties
        if (name == "examples" and config.option.fuzz_minutes) or name in ("kills", "soak")
    ]
    if figures:
        terminalreporter.section("hostile files, kills and long runs")
        for name, value, test in figures:
            terminalreporter.write_line(f"{value:,} {name}  {test}" if isinstance(value, int) else f"{value}  {test}")
    # a file that is skipped as a whole counts as one
    skipped = Counter(how_to_run(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()))
    if not importlib.util.find_spec("torch"):
        skipped["the examples of tddfa.train need torch: pip install torch onnx"] += 1
    if config.option.markexpr == "not slow":
        skipped["the slow tests, such as installations and trainings: pytest -m slow tests"] += 1
    terminalreporter.section("skipped tests and files, and how to get them")
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"{count:4}  {reason}")
