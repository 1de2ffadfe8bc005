"""The options of ``tddfa video`` and ``tddfa webcam`` that move avatars."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tddfa._shared.terminal.parser import UsageError
from tddfa.cli._common import print_warning

if TYPE_CHECKING:
    from tddfa.aligner import Aligner
    from tddfa.avatar import Performer
    from tddfa.avatar.vmc import VmcSender
    from tddfa.geometry.intrinsics import Intrinsics

_PORT = 39539  # that of tddfa.avatar.vmc, whose import would slow --help down


def add_avatar_options(parser: argparse.ArgumentParser, *, sends: bool = True) -> None:
    """Add ``--neutral`` and, with `sends`, ``--osc`` and ``--blendshapes``."""
    group = parser.add_argument_group("avatars")
    group.add_argument(
        "--neutral", default="auto", metavar="auto|none|PHOTO",
        help="resting face, whose blendshapes are subtracted: auto estimates it for each track, PHOTO shows it "
        "(default: %(default)s)",
    )  # fmt: skip
    if sends:
        group.add_argument(
            "--osc", type=_address, metavar="HOST[:PORT]",
            help=f"send blendshapes and head pose by the VMC protocol; the port is {_PORT} unless given; needs "
            "pip install python-osc (default: send nothing)",
        )  # fmt: skip
        group.add_argument(
            "--blendshapes",
            choices=("arkit", "vrm"),
            default="arkit",
            help="names that --osc sends: ARKit's 52, or the vowels and blinks of VRM (default: %(default)s)",
        )


def _address(text: str) -> tuple[str, int]:
    """Parse ``host``, ``host:port`` or ``[IPv6 address]:port``."""
    host, port = text, str(_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"expected HOST or HOST:PORT with a port from 1 to 65535, got {text!r}")
    return host, int(port)


def warn_without_avatar(options: argparse.Namespace, *, used: bool) -> None:
    """Print a warning for options that have no effect."""
    if getattr(options, "osc", None) is None and getattr(options, "blendshapes", "arkit") != "arkit":
        print_warning("--blendshapes: no effect without --osc")
    if options.neutral != "auto" and not used:
        print_warning("--neutral: no effect without --osc or --save with a .glb or .livelink.csv file")


def make_performer(options: argparse.Namespace, aligner: Aligner, intrinsics: Intrinsics | None) -> Performer:
    """Return the performer that the options ask for.

    Raises
    ------
    UsageError
        If ``--neutral`` is a photo without a face.
    ValueError
        If the face model has no ARKit blendshapes.
    """
    from tddfa._shared import image_io
    from tddfa.avatar import Performer

    neutral: Any = options.neutral
    if neutral not in ("auto", "none"):
        path = Path(neutral)
        if not path.is_file():
            raise UsageError(f"--neutral: expected auto, none or a photo, got {neutral!r}: no such file")
        faces = aligner(image_io.read(path))
        if not faces:
            raise UsageError(f"--neutral: expected a photo with a face, got {neutral}")
        neutral = max(faces, key=lambda face: float(face.box[2] - face.box[0]))
    return Performer(aligner.decoder, neutral, intrinsics)


def make_sender(options: argparse.Namespace, performer: Performer, *, paced: bool) -> VmcSender:
    """Return the sender that ``--osc`` asks for."""
    from tddfa.avatar.vmc import VmcSender

    host, port = options.osc
    return VmcSender(host, port, performer.names, naming=options.blendshapes, paced=paced)
