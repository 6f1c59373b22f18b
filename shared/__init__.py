"""What the edge and the trainer must agree on: words, shapes, wire, trust. Imports nothing of ours."""
