"""Translation: an encoder that reads a sentence, and a decoder with its own weights that writes its translation."""
