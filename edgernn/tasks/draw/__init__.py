"""The task `draw`."""
