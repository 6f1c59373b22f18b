"""Hand-overs to people and to the simulator, and their way back."""
