"""The options that choose kinds of output and how they look. All about a kind comes from `tddfa.outputs.KINDS`.

That table imports OpenCV. So it is loaded when kinds are parsed or the help of a command is printed, not when the
parser is built.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tddfa._shared.packages import REQUIREMENTS, needs
from tddfa.cli._camera_options import is_asked_for
from tddfa.cli._common import fraction, integer, print_warning

if TYPE_CHECKING:
    from tddfa.geometry.intrinsics import Intrinsics
    from tddfa.outputs import Options

CAMERA_FLAGS = "--intrinsics, --fov, --focal"


def add_output_options(parser: argparse.ArgumentParser, *, files: bool) -> None:
    """Add the options that set fields of `tddfa.outputs.Options`.

    Parameters
    ----------
    parser : ArgumentParser
        Of a command.
    files : bool
        Add the options of files too: the command saves photos and 3D files, not frames.
    """
    group = parser.add_argument_group("how the output looks")
    # the destinations are the names of the fields
    actions = [
        group.add_argument(
            "--background", choices=("image", "black"), default="image",
            help="what surfaces are drawn over (default: %(default)s)",
        ),
        group.add_argument(
            "--alpha", type=fraction, default=0.85, metavar="0..1", help="opacity of surfaces (default: %(default)s)"
        ),
        group.add_argument(
            "--pose_style", "--pose-style", choices=("box", "axes"), default="box",
            help="how the head pose is drawn (default: %(default)s)",
        ),
    ]  # fmt: skip
    if files:
        group.add_argument(
            "--format", choices=("jpg", "png", "webp"), default="jpg", help="format of images (default: %(default)s)"
        )
        actions += [
            group.add_argument(
                "--uv_size", "--uv-size", type=integer(16, 8192), default=512, metavar="PX",
                help="side of the UV texture (default: %(default)s)",
            ),
            group.add_argument(
                "--uv_mask", "--uv-mask", action="store_true",
                help="also write which pixels of the UV texture were visible, mirrored or filled (default: no)",
            ),
            group.add_argument(
                "--raw", dest="raw_depth", choices=("png", "npy"),
                help="also write depth as numbers: png is 16 bit, 1/16 px per step, 0 where there is no face; "
                "npy is float32 px, NaN where there is no face (default: no)",
            ),
            group.add_argument("--ascii", action="store_true", help="write .ply as text (default: binary)"),
            group.add_argument(
                "--vertex_colors", "--vertex-colors", action="store_true",
                help="give vertices the colours of the photo (default: no)",
            ),
        ]  # fmt: skip
    parser.set_defaults(output_actions=actions)


def kind_list(text: str) -> list[str]:
    """Parse names of kinds with commas between them."""
    from tddfa.outputs import KINDS

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"expected one or more of {','.join(KINDS)}, got {text!r}")
    return list(dict.fromkeys(names))


def image_kind(text: str) -> str:
    """Parse the name of a kind that can be drawn on frames."""
    from tddfa.outputs import image_kinds

    if text not in image_kinds():
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(image_kinds())}, got {text!r}")
    return text


def kinds_help(parser: argparse.ArgumentParser, *, files: bool) -> str:
    """Describe the kinds for the help of a command, with the options that have an effect on each."""
    from tddfa.outputs import KINDS, image_kinds

    flags = _flags(parser.get_default("output_actions"))
    lines = ["kinds of output, and the options for them:"]
    for name, kind in (KINDS if files else image_kinds()).items():
        options = [flags[option] for option in kind.options if option in flags]
        required = [f"needs pip install {REQUIREMENTS[module]}" for module in kind.needs]
        lines.append(f"  {name:10}  {kind.help}")
        if options or required:
            lines.append(f"  {'':10}  ({', '.join([*options, *required])})")
    return "\n".join(lines)


def check_needs(kinds: Sequence[str]) -> None:
    """Check that the optional packages of some kinds are installed.

    Raises
    ------
    ImportError
        If one is not; the message tells how to install it.
    """
    from tddfa.outputs import KINDS

    for name in kinds:
        for module in KINDS[name].needs:
            if importlib.util.find_spec(module) is None:
                raise ImportError(needs(f"-o {name}", REQUIREMENTS[module]))


def uses_camera(kinds: Sequence[str]) -> bool:
    """Whether one of these kinds depends on the camera of the photo."""
    from tddfa.outputs import KINDS

    return any("intrinsics" in KINDS[name].options for name in kinds)


def warn_without_effect(options: argparse.Namespace, kinds: Sequence[str], numbers: str, saved: bool) -> None:
    """Print a warning for each given option that has no effect on these kinds.

    Parameters
    ----------
    options : Namespace
        Of a command with `add_output_options` and `tddfa.cli._camera_options.add_camera_options`.
    kinds : sequence of str
        The kinds to be made.
    numbers : str
        The option that saves numbers, for which the camera counts too: ``--json`` or ``--save``.
    saved : bool
        Whether it is given.
    """
    from tddfa.outputs import KINDS

    given = {
        action.dest: action.option_strings[0]
        for action in options.output_actions
        if getattr(options, action.dest) != action.default
    }
    if is_asked_for(options) and not saved:
        given = {"intrinsics": CAMERA_FLAGS, **given}
    for field, flag in given.items():
        users = [name for name, kind in KINDS.items() if field in kind.options]
        if not set(users) & set(kinds):
            also = [numbers] if field == "intrinsics" else []
            print_warning(f"{flag}: no effect without {_one_of([f'-o {name}' for name in users] + also)}")


def output_options(options: argparse.Namespace, intrinsics: Intrinsics | None) -> Options:
    """Make the `Options` of the outputs that the command line asks for."""
    from tddfa.outputs import Options

    fields: dict[str, Any] = {action.dest: getattr(options, action.dest) for action in options.output_actions}
    if hasattr(options, "format"):
        fields["suffix"] = f".{options.format}"
    return Options(**fields, intrinsics=intrinsics)


def _flags(actions: Sequence[argparse.Action]) -> dict[str, str]:
    return {"intrinsics": CAMERA_FLAGS, **{action.dest: action.option_strings[0] for action in actions}}


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
