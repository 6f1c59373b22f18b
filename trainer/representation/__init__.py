"""Representation: the embedding space of a line, trained once without labels."""
