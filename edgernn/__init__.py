"""edgernn: recurrent networks, from training to the device.

The device side (`edgernn.runtime` and the modules that it imports) needs numpy, onnxruntime and tokenizers.
The host side (`edgernn.models`, `training`, `engines`, `exporters`) needs the extras `train` and `export`.
"""

__version__ = "0.1.0"
