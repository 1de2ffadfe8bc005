"""Commands about the installation itself: ``tddfa info``, ``tddfa models`` and ``tddfa --print-completion``."""
