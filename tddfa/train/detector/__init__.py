"""Training of the detector: images to boxes."""
