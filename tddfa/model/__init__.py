"""What a config names: the networks, the face model, and where their files are."""
