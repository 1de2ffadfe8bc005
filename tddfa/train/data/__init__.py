"""Labelled crops: stored, drawn into batches, augmented."""
