"""Faces over the frames of a video: track ids, smoothing, and files of faces."""
