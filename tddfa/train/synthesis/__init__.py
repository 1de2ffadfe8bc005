"""More crops from the ones there are: other poses, other expressions, rendered heads."""
