"""The options that choose kinds of output and how they look. All about a kind comes from `tddfa.outputs.KINDS`.

That table imports OpenCV. So it is loaded when kinds are parsed or the help of a command is printed, not when the
parser is built.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.packages import REQUIREMENTS, needs
from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa.cli._camera_options import is_asked_for
from tddfa.cli._common import fraction, integer, print_warning

if TYPE_CHECKING:
    from tddfa.aligner import Aligner
    from tddfa.decoder import Decoder
    from tddfa.geometry.intrinsics import Intrinsics
    from tddfa.outputs import Options

# The word for no kind.
_NONE = "none"

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
            "--background", choices=("image", "black", "white", *(["transparent"] if files else [])), default="image",
            help="what is behind drawn surfaces" + "; transparent needs --format png or webp" * files
            + " (default: %(default)s)",
        ),
        group.add_argument(
            "--alpha", type=fraction, metavar="0..1",
            help="opacity of surfaces (default: 0.6, over black 1; 6dof 0.85)",
        ),
        group.add_argument(
            "--style", choices=("paper", "classic"), default="paper",
            help="paper: light from above, and a rim that fades out; classic: the look of 3DDFA_V2 (default: "
            "%(default)s)",
        ),
        group.add_argument(
            "--no-ears", dest="ears", action="store_false", help="draw surfaces without ears (default: with)"
        ),
        group.add_argument(
            "--pose-style", choices=("box", "axes"), default="box",
            help="how the head pose is drawn (default: %(default)s)",
        ),
    ]  # fmt: skip
    if files:
        group.add_argument(
            "--format", choices=("jpg", "png", "webp"), default="jpg", help="format of images (default: %(default)s)"
        )
        actions += [
            group.add_argument(
                "--uv-size", type=integer(16, 8192), default=512, metavar="PX",
                help="side of the UV texture (default: %(default)s)",
            ),
            group.add_argument(
                "--uv-mask", action="store_true",
                help="also write which pixels of the UV texture were visible, mirrored or filled (default: no)",
            ),
            group.add_argument(
                "--raw", dest="raw_depth", choices=("png", "npy"),
                help="also write depth as numbers: png is 16 bit, 1/16 px per step, 0 where there is no face; "
                "npy is float32 px, NaN where there is no face (default: no)",
            ),
            group.add_argument(
                "--space", choices=("image", "head"),
                help="frame of meshes: image is the position in the image, in px; head is upright with the origin at "
                "the head's centre, in cm, for .glb in metres with the head pose in the node; several heads are "
                "beside each other (default: head for .glb, image for .ply and .obj)",
            ),
            group.add_argument("--ascii", action="store_true", help="write .ply as text (default: binary)"),
            group.add_argument(
                "--vertex-colors", action="store_true",
                help="give vertices the colours of the photo; in .glb, they replace the texture (default: no)",
            ),
        ]  # fmt: skip
    parser.set_defaults(output_actions=actions)


def add_kinds_option(parser: Parser, *, files: bool) -> None:
    """Add ``-o``, names of kinds with spaces or commas between them. The first word after them is an input.

    Parameters
    ----------
    parser : Parser
        Of a command.
    files : bool
        Take all kinds, not only those that can be drawn on frames.
    """
    parser.add_argument(
        "-o", "--opt", nargs="+", action=Kinds, names=_all_kinds if files else _drawn_kinds, known=_all_kinds,
        none=True, metavar="KIND", default=["2d_sparse"],
        help="kinds of output, listed below, with spaces or commas between them; none for numbers alone (default: "
        "2d_sparse)",
    )  # fmt: skip


def add_kind_option(parser: Parser) -> None:
    """Add ``-o``, one kind that can be drawn on frames."""
    parser.add_argument(
        "-o", "--opt", type=_image_kind, default="2d_sparse", metavar="KIND",
        help="kind of output, listed below (default: %(default)s)",
    )  # fmt: skip


def _all_kinds() -> list[str]:
    from tddfa.outputs import KINDS

    return list(KINDS)


def _drawn_kinds() -> list[str]:
    from tddfa.outputs import image_kinds

    return list(image_kinds())


def is_kind(word: str) -> bool:
    """Whether a word of the command line is the name of a kind of output, or several with commas between them."""
    return bool(_named_kinds(word, _all_kinds()))


class Kinds(argparse.Action):
    """Takes words as kinds as long as they are names of kinds; the others are inputs. Given again, it adds kinds.

    Parameters
    ----------
    names : function
        The names that the command takes; called when words are parsed.
    known : function, optional
        All names of kinds. A known name that is not in `names` is an error, not an input. By default `names`.
    none : bool
        Take the word ``none`` for no kind.
    *arguments, **options
        Of `argparse.Action`.
    """

    def __init__(
        self,
        *arguments: Any,
        names: Callable[[], Sequence[str]],
        known: Callable[[], Sequence[str]] | None = None,
        none: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.names, self.known, self.none = names, known or names, none

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        assert isinstance(parser, Parser)
        names, known = self.names(), self.known()
        words, allowed = list(values), [*known, *([_NONE] if self.none else [])]
        count = next((number for number, word in enumerate(words) if not _named_kinds(word, allowed)), len(words))
        taken = [kind for word in words[:count] for kind in _named_kinds(word, allowed)]
        wrong = [kind for kind in taken if kind not in (*names, _NONE)] if count else words[:1]
        if wrong:
            raise argparse.ArgumentError(
                self, f"expected one or more of {', '.join(names)}, got {wrong[0]!r}{_hint(wrong[0], names)}"
            )
        other = words[count] if count < len(words) else ""
        hint = _hint(other, names)
        if hint and re.fullmatch(r"\w+", other) and not Path(other).exists():
            raise argparse.ArgumentError(
                self, f"expected a kind or an input after {words[count - 1]}, got {other!r}{hint}"
            )
        before = getattr(namespace, self.dest)
        kinds = list(dict.fromkeys([*([] if before is self.default else before), *taken]))
        if _NONE in kinds and len(kinds) > 1:
            raise argparse.ArgumentError(self, f"expected {_NONE} alone, got {', '.join(kinds)}")
        setattr(namespace, self.dest, [kind for kind in kinds if kind != _NONE])
        parser.collect_inputs(namespace, words[count:])


def _named_kinds(word: str, known: Sequence[str]) -> list[str]:
    """Return the kinds that a word names, with commas between them; none if it names anything else."""
    names = [name.strip().lower() for name in word.split(",") if name.strip()]
    return names if set(names) <= set(known) else []


def _image_kind(text: str) -> str:
    """Parse the name of a kind that can be drawn on frames."""
    from tddfa.outputs import image_kinds

    if len(kinds := _named_kinds(text, _all_kinds())) > 1:
        raise argparse.ArgumentTypeError(f"expected one kind, got {', '.join(kinds)}")
    if text.lower() not in image_kinds():
        hint = _hint(text, image_kinds())
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(image_kinds())}, got {text!r}{hint}")
    return text.lower()


def _hint(word: str, names: Iterable[str]) -> str:
    """End of a message about a word: the name that is nearest to it."""
    near = difflib.get_close_matches(word.lower(), names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


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


def check_kinds(aligner: Aligner, kinds: Sequence[str]) -> None:
    """Check that the faces of an aligner have what some kinds take.

    Raises
    ------
    UsageError
        If they do not; the message names the first kind.
    """
    from tddfa.outputs import KINDS

    for name in kinds:
        missing = KINDS[name].missing(aligner)
        if missing is not None:
            raise UsageError(missing)


def check_mesh(decoder: Decoder, option: str) -> None:
    """Check that the faces of a model have a mesh, which an option takes.

    Raises
    ------
    UsageError
        If they have none; the message begins with the option.
    """
    from tddfa.outputs.kinds import NO_MESH

    if not decoder.has_mesh:
        raise UsageError(f"{option}: {NO_MESH}")


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
    if options.background == "transparent":
        fields |= {"background": "black", "transparent": True}
    if hasattr(options, "format"):
        fields |= {"suffix": f".{options.format}", "kind_in_mesh_names": options.kind_in_mesh_names}
    return Options(**fields, intrinsics=intrinsics)


def _flags(actions: Sequence[argparse.Action]) -> dict[str, str]:
    return {"intrinsics": CAMERA_FLAGS, **{action.dest: action.option_strings[0] for action in actions}}


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
