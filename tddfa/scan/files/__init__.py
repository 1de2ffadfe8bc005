"""Files of scans: reading them, and what is written of their faces."""
