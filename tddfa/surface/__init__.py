"""A mesh in its image: visibility, texture and colours of its points."""
