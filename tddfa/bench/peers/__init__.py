"""Drivers of other toolkits. Each file runs in the Python of that toolkit, and imports nothing from tddfa."""
