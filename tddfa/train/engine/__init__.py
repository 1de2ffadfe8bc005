"""The training loop: it knows neither the data nor the loss."""
