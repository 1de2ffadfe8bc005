"""Drivers of other toolkits. Each is a file that the other toolkit's own Python runs: it imports nothing of tddfa."""
