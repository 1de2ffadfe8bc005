"""Align the faces of photos, as ``tddfa image`` does: ``python demo.py -f photo.jpg -o 3d``."""

import sys

from tddfa.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["image", *sys.argv[1:]]))
