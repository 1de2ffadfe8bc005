"""Face crops for recognition: aligned to a template, or turned to the front."""
