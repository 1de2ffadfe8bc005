"""A face model fitted to landmarks."""
