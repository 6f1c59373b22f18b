"""The demo: the whole loop on one machine, driven through the same commands that a site uses."""
