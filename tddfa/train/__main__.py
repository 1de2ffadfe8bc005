"""``python -m tddfa.train``, the same as ``tddfa train``."""

from tddfa.train.command import main

raise SystemExit(main())
