"""The commands that deploy answers itself."""
