"""What is checked of a module before it is exported: that it does what its contract says, and nothing beside.

trial      one call of the module, and whether its results are what the contract declares
values     Python code that reads the values of tensors, which no exporter can follow
effects    inputs changed in place, random numbers, state that is kept between calls
rows       streams of a batch that influence each other
states     states that seem to be ignored, or never to change
"""

from edgernn.exporters.checks.module import Finding, check_graphs, unconfirmed, warn

__all__ = ["Finding", "check_graphs", "unconfirmed", "warn"]
