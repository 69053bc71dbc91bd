"""Data handling that tasks share: texts, tokens, vocabularies, captions, downloads."""
