"""Training of the scan landmarker (2S-SGCN, stage 1)."""
