"""``python -m tddfa.train``, the same as ``tddfa train``."""

import sys

from tddfa.cli import main

raise SystemExit(main(["train", *sys.argv[1:]]))
