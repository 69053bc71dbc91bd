"""Exporters, one file for each target, and the parity gate that every artifact passes."""

from edgernn.exporters.export import TARGETS, Exported, export, verify
from edgernn.exporters.module import export_module
from edgernn.exporters.quantization import Quantization

__all__ = ["TARGETS", "Exported", "Quantization", "export", "export_module", "verify"]
