"""Trainable networks, one file for each architecture."""

from edgernn.models.base import Graph, Network, weights_digest
from edgernn.models.caption import CaptionConfig, Captioner
from edgernn.models.encoder import EncoderConfig
from edgernn.models.language import LanguageConfig, LanguageModel

__all__ = [
    "CaptionConfig",
    "Captioner",
    "EncoderConfig",
    "Graph",
    "LanguageConfig",
    "LanguageModel",
    "Network",
    "weights_digest",
]
