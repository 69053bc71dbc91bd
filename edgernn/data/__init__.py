"""Data handling that tasks share: texts, tokens, vocabularies, captions, labelled sequences, downloads."""
