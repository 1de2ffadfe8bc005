"""Labels: fitted to landmarks, compared with predictions, refitted; and offsets of landmark conventions."""
