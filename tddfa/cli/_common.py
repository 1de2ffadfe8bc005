"""Shared by the commands of ``tddfa``: messages, errors, and the options of a model."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.errors import TddfaError
from tddfa._shared.files import naming
from tddfa._shared.packages import conflicts, reason
from tddfa._shared.terminal.failures import is_debug, unexpected
from tddfa._shared.terminal.parser import UsageError
from tddfa._shared.terminal.printing import above_bars, printable

if TYPE_CHECKING:
    from tddfa.aligner import Aligner
    from tddfa.decoder import Decoder

FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
# those of tddfa.model.runtime, whose import would slow --help down
DEVICES = ("auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino")
OUTPUT = "standard output"  # in the place of a file name
NO_FACE = 255  # exit(-1) in 3DDFA_V2


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors that end with one line and no traceback: bad input, missing files or packages.

    `BrokenPipeError` is among them, an `OSError`: re-raise it first, for `tddfa.cli.main` to handle.
    """
    # asked for after an error, which may be that OpenCV cannot be loaded
    of_opencv = getattr(sys.modules.get("cv2"), "error", TddfaError)
    return TddfaError, ValueError, FloatingPointError, OSError, ImportError, MemoryError, of_opencv


class Steps:
    """The steps of a run, a photo each: an error in one is printed, and the others are still done.

    Attributes
    ----------
    failures : int
        How many steps failed.
    """

    def __init__(self) -> None:
        self.failures = 0

    @contextlib.contextmanager
    def step(self, name: object, *, prefix: str = "") -> Iterator[None]:
        """Do a step; `name` is printed with an error that has no message, `prefix` before every error."""
        try:
            yield
        except BrokenPipeError:
            raise  # the reader of the output is gone: no error of this step
        except Exception as error:
            if is_debug():
                raise
            known = isinstance(error, expected_errors())
            text = (reason(error) or f"{name}: {type(error).__name__}") if known else f"{name}: {unexpected(error)}"
            print_error(prefix + text)
            self.failures += 1


@contextlib.contextmanager
def _handled(names: Sequence[str], handler: Callable[..., None]) -> Iterator[None]:
    """Handle signals, but not those that are ignored, as under nohup."""
    before: dict[int, Any] = {}
    try:
        for name in names:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                with contextlib.suppress(ValueError):  # not in the main thread
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: with complete files, and none that is half written."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with _handled(("SIGTERM", "SIGHUP"), interrupt):
        yield


@contextlib.contextmanager
def interrupted_once() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C, SIGTERM and SIGHUP interrupt once, and ignore them while files are completed after it.

    Yields
    ------
    function
        Ignores them from now on: called before files are completed without an interrupt.
    """
    held = False

    def hold() -> None:
        nonlocal held
        held = True

    def interrupt(*_: Any) -> None:
        if not held:
            hold()
            raise KeyboardInterrupt

    with _handled(("SIGINT", "SIGTERM", "SIGHUP"), interrupt):
        yield hold


def print_line(text: str) -> None:
    """Print a result, at once."""
    with above_bars(), naming(OUTPUT):
        sys.stdout.write(f"{printable(text)}\n")
        sys.stdout.flush()


def print_lines(text: str) -> None:
    """Print a result of several lines."""
    for line in text.split("\n"):
        print_line(line)


def print_error(text: str) -> None:
    """Print an error, in one line."""
    with above_bars():
        sys.stderr.write(f"tddfa: error: {printable(' '.join(text.split()))}\n")


def print_warning(text: str) -> None:
    """Print a warning: nothing failed, but an option may not do what was meant."""
    with above_bars():
        sys.stderr.write(f"tddfa: warning: {printable(text)}\n")


def print_failure(error: BaseException) -> None:
    """Print the error that ends a run; of one that nobody expected, also where its report is."""
    known = isinstance(error, expected_errors())
    print_error((reason(error) or type(error).__name__) if known else unexpected(error))


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def integer(low: int, high: int) -> Any:
    """Return a parser of whole numbers in a range, its ends included."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text!r}")
        return value

    return parse


def add_out_option(parser: argparse.ArgumentParser, what: str, default: str = "results") -> None:
    """Add ``--out``, the folder for what a command writes."""
    parser.add_argument(
        "--out", type=folder, default=Path(default), metavar="DIR", help=f"folder for {what} (default: %(default)s)"
    )


def filled(expected: str) -> Callable[[str], str]:
    """Return a parser of a word that is not empty, as that of an unset variable of a shell is."""

    def parse(text: str) -> str:
        if not text:
            raise argparse.ArgumentTypeError(f"expected {expected}, got an empty string")
        return text

    return parse


def folder(text: str) -> Path:
    """Parse the name of a folder. An empty one would be the working folder."""
    return Path(filled("a folder")(text))


def add_config_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup, meaning: str) -> None:
    """Add ``-c``, the model."""
    parser.add_argument(
        "-c", "--config", default="open_mb05", metavar="NAME|FILE.yml", help=f"{meaning} (default: %(default)s)"
    )


def add_fraction_option(parser: argparse.ArgumentParser, name: str, default: float, meaning: str) -> None:
    """Add an option for a fraction of some data."""
    parser.add_argument(
        name, type=fraction, default=default, metavar="FRACTION", help=f"{meaning} (default: %(default)g)"
    )


def add_model_options(parser: argparse.ArgumentParser, *, convention: bool = True) -> None:
    """Add the options that choose a model, where it runs and, with `convention`, its landmark convention."""
    group = parser.add_argument_group("model")
    add_config_option(group, "name or config file of the model")
    group.add_argument(
        "--weights", metavar="DIR",
        help="folder with weights that are not part of the installed package, such as weights/ of a checkout "
        "(default: the environment variable TDDFA_WEIGHTS)",
    )  # fmt: skip
    group.add_argument("--device", type=_device, choices=DEVICES, help="where the networks run (default: auto)")
    group.add_argument(
        "--precision", choices=("float", "int8", "auto"), default="float",
        help="number format of the networks; int8 is up to twice as fast on a CPU and slightly less accurate; auto "
        "uses int8 if the CPU has instructions for it, so results depend on the machine (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--threads", type=integer(1, 1024), metavar="N", help="threads per network (default: all cores)")
    group.add_argument(
        "--refine", type=integer(0, 10), metavar="N",
        help="extra passes per face, each on a crop around its landmarks; 0 is fastest "
        "(default: as in the config; open_mb05: 1)",
    )  # fmt: skip
    group.add_argument(
        "--tiles", choices=("auto", "off"),
        help="auto also detects on tiles at native resolution if the image would be shrunk more than twice, "
        "otherwise on close-ups of small faces; off is faster and misses small faces (default: as in the config; "
        "open_mb05: auto)",
    )  # fmt: skip
    group.add_argument(
        "--min-score", type=fraction, metavar="0..1",
        help="lowest score of an aligned face; 0 keeps every detection (default: as in the config)",
    )  # fmt: skip
    group.add_argument(
        "--rotations", choices=("auto", "all", "off"),
        help="how faces of any roll are found: auto also detects on the image rotated by 90, 180 and 270 degrees if "
        "no face was found; all always does so; off never does so (default: as in the config; open_mb05: auto)",
    )  # fmt: skip
    if convention:
        group.add_argument(
            "--landmarks", type=_convention, metavar="NAME",
            help="landmark convention: 300w for that of 300-W, 300w-lp for that of 300W-LP and 3DDFA_V2 (default: as "
            "in the face model; open_mb05: 300w)",
        )  # fmt: skip
    group.add_argument(
        "--exact-crop", action="store_true",
        help="crop at the exact edges of the box even if the config asks for rounded edges, as configs of 3DDFA_V2 do "
        "(default: as in the config)",
    )  # fmt: skip
    group.add_argument(
        "--fit-mesh", action="store_true",
        help="for models that predict only points, such as jvcr_s: fit the face model to the points, so that faces "
        "have a mesh (default: no)",
    )  # fmt: skip
    group.add_argument(
        "-m", "--mode", choices=("cpu", "gpu"), help="option of 3DDFA_V2: the same as --device cpu or cuda"
    )
    group.add_argument("--onnx", action="store_true", help="option of 3DDFA_V2: accepted; networks are always ONNX")


def _convention(text: str) -> str:
    """Parse the name of a landmark convention; those of the shipped models in any case."""
    return text.lower() if text.lower() in ("300w", "300w-lp") else text


def _device(text: str) -> str:
    """Parse a device; ``gpu`` is the word of 3DDFA_V2's ``--mode``."""
    return "cuda" if text.lower() == "gpu" else text


def device_of(options: argparse.Namespace) -> str:
    """Return the device that ``--device`` or ``--mode`` asks for."""
    return options.device or {"cpu": "cpu", "gpu": "cuda", None: "auto"}[options.mode]


def own_config(name: str) -> str:
    """Return the name or file of a config; one of 3DDFA_V2 is converted first, and the converted file returned."""
    from tddfa._shared.settings import read_mapping
    from tddfa.model.assets import config_path
    from tddfa.model.config import UPSTREAM_KEY

    path = config_path(name)
    if UPSTREAM_KEY not in read_mapping(path):
        return name if name.lower().endswith((".yml", ".yaml")) else path.stem  # a name may be in any case
    from tddfa.compat.config import convert_config

    return str(convert_config(path))


def load_aligner(options: argparse.Namespace) -> Aligner:
    """Load the model that the options of `add_model_options` choose.

    A config of 3DDFA_V2 is converted, and replaced in `options` by the converted file.

    Raises
    ------
    UsageError
        If the face model does not have the landmark convention, or if the folder of ``--weights`` is none.
    """
    from tddfa._shared import opencv_log
    from tddfa.aligner import Aligner

    use_weights(options)
    for line in conflicts():
        print_warning(line)
    opencv_log.silence()  # OpenCV prints its own lines about a damaged file; we print one
    options.config = own_config(options.config)
    with _naming_convention(options):
        return Aligner.load(
            options.config,
            device=device_of(options),
            precision=options.precision,
            threads=options.threads,
            **loading_of(options),
        )


def load_decoder(options: argparse.Namespace) -> Decoder:
    """Load the face model that the options of `add_model_options` choose; no network, which may be for another machine.

    Raises
    ------
    UsageError
        As by `load_aligner`.
    """
    from tddfa.decoder import Decoder
    from tddfa.model.assets import config_path
    from tddfa.model.config import Config

    use_weights(options)
    options.config = own_config(options.config)
    given = loading_of(options)
    arguments = {name: given[name] for name in ("convention", "exact_crop", "fit_mesh")}
    with _naming_convention(options):
        return Decoder.from_config(Config.load(config_path(options.config)), **arguments)


def use_weights(options: argparse.Namespace) -> None:
    """Use the folder of ``--weights``, in this process and in those that it starts."""
    from tddfa.model.assets import WEIGHTS_VARIABLE

    if options.weights is not None:
        if not Path(options.weights).is_dir():
            raise UsageError(f"--weights: expected a folder, got {options.weights!r}")
        os.environ[WEIGHTS_VARIABLE] = options.weights


@contextlib.contextmanager
def _naming_convention(options: argparse.Namespace) -> Iterator[None]:
    """Name ``--landmarks`` if the face model does not have its convention."""
    from tddfa.decoder import Decoder

    convention = getattr(options, "landmarks", None)
    try:
        yield
    except ValueError as error:
        known = () if convention is None else Decoder.load(options.config).face_model.landmark_offsets
        if convention is None or convention in known:
            raise
        raise UsageError(f"--landmarks: expected one of {', '.join(known)}, got {convention!r}") from error


def loading_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `Aligner.load` that change what is found, but for the config."""
    names = ("refine", "exact_crop", "tiles", "min_score", "rotations", "fit_mesh")
    return {name: getattr(options, name) for name in names} | {"convention": getattr(options, "landmarks", None)}


def load_networks(aligner: Aligner, *, detects: bool = True, aligns: bool = True) -> None:
    """Load now what is else loaded at the first photo, whose time is then that of the work, as those of the others.

    Parameters
    ----------
    aligner : Aligner
    detects, aligns : bool
        Load the detector, and the regressor.
    """
    import numpy as np
    from PIL import Image

    Image.preinit()
    # a detector of another kind has no network
    detector = getattr(getattr(aligner.detector, "find", None), "model", None) if detects else None
    for network in (aligner.regressor if aligns else None, detector):
        getattr(network, "device", None)  # reading it loads the file
    if aligns and aligner.device != "cpu":  # others load their code at the first call
        black = np.zeros((64, 64, 3), np.uint8)
        aligner(black, boxes=[[8, 8, 56, 56]])
        if detector is not None:
            aligner(black)


def faces_text(count: int) -> str:
    """Return ``no face``, ``1 face`` or ``2 faces``."""
    return {0: "no face", 1: "1 face"}.get(count, f"{count} faces")


def has_display() -> bool:
    """Whether a window can be opened: a display, and an OpenCV that was built with windows."""
    import cv2

    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    if sys.platform.startswith("linux"):
        # If the display is named but gone (ssh, tmux), OpenCV ends the process without an exception: try in another.
        probe = "import cv2; cv2.namedWindow('tddfa'); cv2.destroyAllWindows()"
        try:
            done = subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
    gui = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    return "NONE" not in gui.upper()
