"""The units of a recurrent language model: what each of them tells about the text, and what holding one changes."""
