"""The parts of a model: its config, its networks, its face model, and the files of them."""
