"""``python -m tddfa.train``, the same as ``tddfa train``."""

from tddfa.cli.train import main

raise SystemExit(main())
