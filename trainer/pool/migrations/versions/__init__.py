"""One file per step; a released step never changes."""
