"""Readers of files that may be hostile: each checks the kind and the size of a file first, and has one error."""
