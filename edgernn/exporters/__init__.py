"""Exporters, one file for each target, and the parity gate that every artifact passes."""

from edgernn.exporters.export import TARGETS, Exported, Source, export, verify
from edgernn.exporters.parity import Parity

__all__ = ["TARGETS", "Exported", "Parity", "Source", "export", "verify"]
