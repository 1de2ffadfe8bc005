"""The training loop, independent of data and loss."""
