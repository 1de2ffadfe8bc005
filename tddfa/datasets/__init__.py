"""Data sets as they are published, read by training and by evaluation."""
