"""Face models and networks of others, made into files that this package reads."""
