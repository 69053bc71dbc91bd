"""Adopting: bundles of ONNX files that another program exported.

    read -> names -> axes and constants that were said -> states -> carries and cuts -> trials -> contract -> bundle

reading    a file with its weights, without functions, with nothing but tensors at its borders
graph      the graph on the table
names      names that a contract can have, and how near two names are
options    what the caller says, by the names in the files
states     which inputs are states, by data flow and like names, or as a question
flow       what the data flow tells
surgery    inputs made constant, samples carried over, states cut out of an output
draws      what a graph is tried with
shapes     shape inference
trial      whether sizes fit, and whether rows are streams
axes       which axis counts streams, and which sizes the others take
  symbols       the named axes, and which of them could be the batch
  sizes         what they are tried with
  attempts      each trial with one stream, made once
  confirmation  what the contract says of them, and what notes say
measure    whether equal calls agree, and what states do
adopt      all of it, in that order
"""

from edgernn.exporters.adoption.adopt import Adoption, adopt
from edgernn.exporters.adoption.options import AdoptSpec

__all__ = ["AdoptSpec", "Adoption", "adopt"]
