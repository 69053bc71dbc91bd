"""The names of the sets of pictures that edgernn draws, as settings have them. This module imports nothing."""

__all__ = ["DIGITS", "SCENES"]

DIGITS, SCENES = "digits", "scenes"
