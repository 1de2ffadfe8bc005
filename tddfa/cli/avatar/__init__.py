"""``tddfa avatar``: avatars that move as a face does."""

from __future__ import annotations

import argparse
from typing import Any

from tddfa.cli.avatar import drive


def add_parser(commands: Any) -> None:
    """Add ``avatar`` to the commands of ``tddfa``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "avatar", help="move avatars by videos", description="Avatars that move as a face does."
    )
    own = parser.add_subparsers(dest="avatar_command", required=True, metavar="COMMAND")
    sub = own.add_parser("drive", help="animate a .glb file by a video", description=drive.__doc__)
    drive.add_arguments(sub)
    sub.set_defaults(run=drive.run)
