"""``python -m tddfa.modelling FIRST.npz SECOND.npz``: make the second edition of the open face model."""

from __future__ import annotations

import argparse
from pathlib import Path

from tddfa.modelling.build import build, write
from tddfa.modelling.draft import Draft


def main() -> int:
    """Parse the command line and write the file; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tddfa.modelling", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "first", type=Path, metavar="FIRST.npz", help="first edition: configs/open_face.npz of commit 88fa32a"
    )
    parser.add_argument("second", type=Path, metavar="SECOND.npz", help="file to write")
    options = parser.parse_args()
    try:
        write(build(Draft.load(options.first)), options.second)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
