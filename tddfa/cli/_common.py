"""What the commands of ``tddfa`` share: how they speak, and how they load a model."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tddfa.aligner import Aligner

FAILED = 1
MISUSED = 2  # argparse's
NO_FACE = 255  # 3DDFA_V2's exit(-1)


def expected_errors() -> tuple[type[Exception], ...]:
    """What one photo may bring about without ending the run for the others."""
    import cv2

    return ValueError, OSError, ImportError, MemoryError, cv2.error


def print_line(text: str) -> None:
    """Tell what was done."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_error(text: str) -> None:
    """Tell what went wrong, in one line."""
    sys.stderr.write(f"tddfa: error: {' '.join(text.split())}\n")


def print_warning(text: str) -> None:
    """Tell what is no trouble, but may not be what was meant."""
    sys.stderr.write(f"tddfa: {text}\n")


def fraction(text: str) -> float:
    """Parse an argument from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def integer(low: int, high: int) -> Any:
    """Make a parser of whole numbers in a range."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text!r}")
        return value

    return parse


def add_model_options(parser: argparse.ArgumentParser, *, convention: bool = True) -> None:
    """Add the options that choose a model and where it runs, and by which landmark convention its landmarks are."""
    parser.add_argument(
        "-c", "--config", default="open_mb05", metavar="NAME|FILE.yml",
        help="the model (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "tensorrt"), help="where the networks run (default: auto)"
    )
    parser.add_argument(
        "--precision", choices=("float", "int8"), default="float",
        help="int8: networks in 8 bits, about twice as fast on a CPU, a little less exact (default: float)",
    )  # fmt: skip
    parser.add_argument("-m", "--mode", choices=("cpu", "gpu"), help="3DDFA_V2's name for --device cpu, cuda")
    parser.add_argument("--threads", type=integer(1, 1024), metavar="N", help="threads of a network (default: all)")
    parser.add_argument(
        "--refine", type=integer(0, 10), metavar="N",
        help="align each face again N times, from its landmarks; 0 is fastest (default: the config's; open_mb05: 1)",
    )  # fmt: skip
    if convention:
        parser.add_argument(
            "--landmarks", metavar="NAME",
            help="where the 68 landmarks lie: 300w, as annotators put them, or 300w-lp, as 3DDFA_V2 does (default: the "
            "model's own; open_mb05: 300w)",
        )  # fmt: skip
    parser.add_argument("--onnx", action="store_true", help="accepted for 3DDFA_V2's sake: it is always ONNX")
    parser.add_argument(
        "--exact-crop", "--exact_crop", action="store_true",
        help="cut at the box's true edges where the model's config says rounded, as 3DDFA_V2's do",
    )  # fmt: skip


def own_config(name: str) -> str:
    """Return the name or file of a config; one of 3DDFA_V2 is converted first, and the converted file returned."""
    from tddfa._shared.settings import read_mapping
    from tddfa.model.assets import config_path
    from tddfa.model.config import UPSTREAM_KEY

    path = config_path(name)
    if UPSTREAM_KEY not in read_mapping(path):
        return name
    from tddfa.compat.config import convert_config

    return str(convert_config(path))


def load_aligner(options: argparse.Namespace) -> Aligner:
    """Load the model that the options of `add_model_options` choose.

    A config of 3DDFA_V2 is converted, and replaced in `options` by the converted file.
    """
    import cv2

    from tddfa.aligner import Aligner

    # what a damaged file is said to have is ours to say, in one line
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    device = options.device or {"cpu": "cpu", "gpu": "cuda", None: "auto"}[options.mode]
    options.config = own_config(options.config)
    return Aligner.load(
        options.config,
        device=device,
        precision=options.precision,
        threads=options.threads,
        refine=options.refine,
        exact_crop=options.exact_crop,
        convention=getattr(options, "landmarks", None),
    )


def has_display() -> bool:
    """Whether a window can be opened: a display, and an OpenCV that was built with windows."""
    import cv2

    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    if sys.platform.startswith("linux"):
        # A display that is named but gone (ssh, tmux) ends the whole process, and no exception tells: tried in another.
        probe = "import cv2; cv2.namedWindow('tddfa'); cv2.destroyAllWindows()"
        try:
            done = subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
    gui = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    return "NONE" not in gui.upper()
