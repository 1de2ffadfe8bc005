"""``python -m tddfa``."""

from tddfa.cli import main

raise SystemExit(main())
