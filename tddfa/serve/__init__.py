"""A service over HTTP for one loaded model."""
