"""Labels: fitted to landmarks, checked, and fitted again."""
