"""The names of the sets of labelled pictures that edgernn draws, as settings have them; this module imports nothing."""

__all__ = ["DIGITS", "SCENES"]

DIGITS, SCENES = "digits", "scenes"
