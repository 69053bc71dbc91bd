"""Parts of networks, and what every network that is exported offers."""

from edgernn.models.base import Graph, Network, weights_digest
from edgernn.models.source import Feedback, HeldOut, Source

__all__ = ["Feedback", "Graph", "HeldOut", "Network", "Source", "weights_digest"]
