"""Faces over the frames of a video: identity, smoothing, and records of what was found."""
