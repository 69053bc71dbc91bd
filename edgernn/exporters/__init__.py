"""Exporters: from a network to a bundle that is proven to equal it.

export, module  a trained network, or any module, as a bundle
checks          what is checked of a module before it is exported
capture         from a module to a graph
targets         one file for each target; target is what a target is
quantisation    weights and activations in fewer bits; quantization is what a caller can choose of it
gate            source and artifact, side by side
adoption        ONNX files that another program exported
inspection      what is in a bundle; report: what a lower precision left as it was
"""

from edgernn.exporters.export import Exported, export, verify
from edgernn.exporters.module import export_module
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.targets import TARGETS

__all__ = ["TARGETS", "Exported", "Quantization", "export", "export_module", "verify"]
