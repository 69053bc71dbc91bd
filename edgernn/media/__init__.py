"""Readers of media files: each returns arrays or text, or raises an error that names the file."""
