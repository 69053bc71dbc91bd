"""The task `paint`."""
