"""The static store and the health page over HTTP."""
