"""Sizes and settings that suit a kind of pictures, so that nobody has to begin from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgernn.training.captioning.config import CaptionTraining

__all__ = ["DRAWINGS", "PHOTOGRAPHS", "CaptionPreset"]

_SIZES = {"mobilenet_v2": 224, "small": 64}  # pixels


@dataclass(frozen=True)
class CaptionPreset:
    """What of EncoderConfig and CaptionConfig is not its default, and how a captioner of it is trained."""

    encoder: str
    model: Mapping[str, Any]
    training: CaptionTraining

    def encoder_but(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The encoder but for these settings; each kind has its own size of pictures."""
        name = settings.get("name", self.encoder)
        return {"name": name, **({"size": _SIZES[name]} if name in _SIZES else {}), **settings}


PHOTOGRAPHS = CaptionPreset("mobilenet_v2", {}, CaptionTraining())
DRAWINGS = CaptionPreset(
    "small",
    {"embedding": 64, "hidden": 256, "layers": 2, "dropout": 0.1, "heads": 4},
    CaptionTraining(
        images=64,
        views=1,
        passes=14.0,
        minutes=None,
        smoothing=0.0,
        word_dropout=0.3,
        min_count=1,
        evaluations=10,
        beam=1,
    ),
)
