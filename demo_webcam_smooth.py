"""Track the faces in front of a camera, smoothed, as ``tddfa webcam`` does: ``python demo_webcam_smooth.py -o 3d``."""

import sys

from tddfa.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["webcam", *sys.argv[1:]]))
