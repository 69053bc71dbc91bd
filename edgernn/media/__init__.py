"""Readers of media files: a file becomes arrays, or a named error."""
