"""Learning: labelled crops in, a task model out, and how good it is."""
