"""Parts of networks, and what every network that is exported offers."""

from edgernn.models.base import Graph, Network, weights_digest

__all__ = ["Graph", "Network", "weights_digest"]
