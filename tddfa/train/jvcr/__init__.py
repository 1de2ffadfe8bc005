"""Training of JVCR in three stages: volumes, coordinates, both together."""
