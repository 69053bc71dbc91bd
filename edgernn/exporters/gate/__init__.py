"""The parity gate: a bundle is written only if its artifact behaves like its source.

prove        drive source and artifact in lock-step and measure the differences
streams      their inputs: held-out sequences, examples, random tensors, values at the limits of the contract
real_inputs  examples that the caller provides
held_out     held-out sequences: initial states, loss, and whole generated sequences
vectors      record steps of the source as golden vectors
"""
