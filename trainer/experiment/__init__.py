"""Measuring the loop beside its rivals, and showing what was selected."""
