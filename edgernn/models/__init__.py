"""Parts of networks, and the interface of every network that is exported."""

from edgernn.models.base import Graph, Network, weights_digest
from edgernn.models.source import Feedback, HeldOut, Source

__all__ = ["Feedback", "Graph", "HeldOut", "Network", "Source", "weights_digest"]
