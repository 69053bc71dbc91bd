"""Trainable networks, one file for each architecture."""

from edgernn.models.base import Graph, Network, weights_digest
from edgernn.models.language import LanguageConfig, LanguageModel

__all__ = ["Graph", "LanguageConfig", "LanguageModel", "Network", "weights_digest"]
