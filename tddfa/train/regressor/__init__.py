"""Training of the regressor: crops to camera, shape and expression."""
