"""The ways to choose a batch, one file each."""
