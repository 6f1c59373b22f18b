"""The people's hand on the fleet: the `winnow` command, rollouts, the demo. Imports shared alone."""
