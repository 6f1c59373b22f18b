"""The inspection process: cameras, graphs and stream filters. No socket but a camera's and the hand-off's."""
