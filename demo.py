"""Align the faces of photos: ``python demo.py -f photo.jpg -o 3d``; the same as ``tddfa image``."""

import sys

from tddfa.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["image", *sys.argv[1:]]))
