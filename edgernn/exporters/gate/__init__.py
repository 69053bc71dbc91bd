"""The gate: a bundle is written only if its artifact behaves like its source.

prove        source and artifact side by side, and what is measured
streams      what both are driven with: held-out sequences, examples, random tensors, rare values
real_inputs  the examples that a caller gives
held_out     held-out sequences: where they begin, the loss on them, and whole sequences
vectors      the steps of the source that are recorded as golden vectors
"""
