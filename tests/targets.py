"""The targets that run any module. C refuses operators that it has no kernel for, and has tests of its own."""

from edgernn.exporters import TARGETS as ALL_TARGETS

TARGETS = {name: target for name, target in ALL_TARGETS.items() if name != "c"}
