"""Checks of a module before it is exported: it must do what its contract says, without side effects.

trial      one call of the module, and the check of its results against the contract
values     Python code that reads values of tensors, which exporters cannot follow
effects    inputs that are changed in place, random numbers, state that is kept between calls
rows       streams of a batch that influence each other
states     states that seem to be ignored, or never to change
"""

from edgernn.exporters.checks.module import Finding, check_graphs, unconfirmed, warn

__all__ = ["Finding", "check_graphs", "unconfirmed", "warn"]
