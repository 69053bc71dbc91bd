"""Exporters: from a network to a bundle, which is written only if it behaves like the network.

export, module  export a trained network, or any module, as a bundle
checks          checks of a module before it is exported
capture         convert a module to a graph
targets         one file for each target; target declares their interface
quantisation    quantise weights and activations; quantization declares the caller's choices
gate            the parity gate, which compares source and artifact
adoption        make bundles of ONNX files that another program exported
inspection      report the contents of a bundle; report describes the effect of a lower precision
"""

from edgernn.exporters.export import Exported, export, verify
from edgernn.exporters.module import export_module
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.targets import TARGETS

__all__ = ["TARGETS", "Exported", "Quantization", "export", "export_module", "verify"]
