"""``winnow agent doctor``: what a node needs, looked at from the node, with what to do about each fault."""
