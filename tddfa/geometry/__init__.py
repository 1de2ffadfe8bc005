"""Cameras, rotations and poses: numbers only, no image and no network."""
