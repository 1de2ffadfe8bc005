"""More crops from labelled ones: other poses, other expressions, rendered heads."""
