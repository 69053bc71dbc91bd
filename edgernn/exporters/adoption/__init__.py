"""Adoption: make bundles of ONNX files that another program exported.

    read -> names -> given axes and constants -> states -> carries and cuts -> trials -> contract -> bundle

reading    read a file and its weights, inline functions, and require tensors as inputs and outputs
graph      the graph that is being adopted
names      names that contracts accept, and the similarity of names
options    the caller's options, by the names in the files
states     find which inputs are states, by data flow and names, or ask the caller
flow       analyse the data flow
surgery    make inputs constant, carry samples over, and cut states out of outputs
draws      tensors with which a graph is tried
shapes     shape inference
trial      try whether sizes fit, and whether rows are independent streams
axes       find the batch axis and the sizes of the other axes
  symbols       the named axes, and candidates for the batch axis
  sizes         sizes to try
  attempts      trials with one stream, each carried out once
  confirmation  the axes in the contract, and notes about them
measure    check that equal calls agree, and observe the states
adopt      runs all of it, in that order
"""

from edgernn.exporters.adoption.adopt import Adoption, adopt
from edgernn.exporters.adoption.options import AdoptSpec

__all__ = ["AdoptSpec", "Adoption", "adopt"]
