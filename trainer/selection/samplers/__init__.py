"""Exact draws from determinantal laws."""
