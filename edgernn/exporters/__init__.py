"""Exporters, one file for each target, and the parity gate that every artifact passes."""

from edgernn.exporters.export import TARGETS, Exported, Source, export, verify

__all__ = ["TARGETS", "Exported", "Source", "export", "verify"]
