"""Multiview-consistent fine-tuning of the regressor (3DDFA+)."""
