"""A mesh over its image: which points are visible, and which colours they have."""
