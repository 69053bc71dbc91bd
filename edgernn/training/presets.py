"""Sizes of language models with the settings that train them well, so that nobody has to begin from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgernn.errors import ConfigError
from edgernn.training.config import TrainingConfig

__all__ = ["DEFAULT", "PRESETS", "Preset", "find_preset"]

DEFAULT = "small"


@dataclass(frozen=True)
class Preset:
    """A size: what of LanguageConfig is not its default, and how it is trained."""

    model: Mapping[str, Any]
    training: TrainingConfig


PRESETS = {
    "tiny": Preset({"hidden": 128, "dropout": 0.1}, TrainingConfig(passes=20.0, evaluations=20)),
    "small": Preset({}, TrainingConfig()),
    "medium": Preset({"hidden": 384, "dropout": 0.35}, TrainingConfig(passes=16.0, evaluations=16)),
}


def find_preset(name: str) -> Preset:
    """The preset called `name`. Raises ConfigError if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"--preset {name}: there is {', '.join(PRESETS)}")
    return PRESETS[name]
