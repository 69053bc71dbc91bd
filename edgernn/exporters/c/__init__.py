"""The target c: a bundle as C source code."""
