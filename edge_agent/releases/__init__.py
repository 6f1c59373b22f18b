"""Which release each line of the node runs, and the way a release takes to get there."""
