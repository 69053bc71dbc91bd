"""The targets that run any module. C and WebAssembly refuse operators without a kernel, and have tests of their own."""

from edgernn.exporters import TARGETS as ALL_TARGETS

TARGETS = {name: target for name, target in ALL_TARGETS.items() if name not in ("c", "wasm")}
