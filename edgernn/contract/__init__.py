"""The step contract: how a graph with explicit state must be driven, written down as data.

    outputs, next_state = step(inputs, conditions, state)

A `Contract` holds one `GraphSpec` per graph of a bundle. A graph is called with its inputs, conditions and states, in
that order, and returns its outputs and next states, in that order. An axis is a size or a name; the axis named "batch"
counts independent streams, and a tensor without it cannot be batched.

declaration    what a contract says
encoding       contracts as JSON
checks         whether arrays are what a contract declares
batching       the states of several streams, joined, split and put in another order
kinds          the kinds that names stand for in bundles that declare none
"""

from edgernn.contract.batching import State, select, stack, unstack
from edgernn.contract.checks import FeedCheck, check, check_tensor
from edgernn.contract.declaration import (
    BATCH,
    DTYPES,
    KINDS,
    ZEROS,
    Array,
    Axis,
    ConditionSpec,
    Contract,
    FromFile,
    FromGraph,
    GraphSpec,
    Initial,
    StateSpec,
    TensorSpec,
    Zeros,
)
from edgernn.contract.encoding import (
    canonical_json,
    contract_from_json,
    contract_to_json,
    graph_from_json,
    graph_to_json,
)
from edgernn.contract.kinds import with_kinds

__all__ = [
    "BATCH",
    "DTYPES",
    "KINDS",
    "ZEROS",
    "Array",
    "Axis",
    "ConditionSpec",
    "Contract",
    "FeedCheck",
    "FromFile",
    "FromGraph",
    "GraphSpec",
    "Initial",
    "State",
    "StateSpec",
    "TensorSpec",
    "Zeros",
    "canonical_json",
    "check",
    "check_tensor",
    "contract_from_json",
    "contract_to_json",
    "graph_from_json",
    "graph_to_json",
    "select",
    "stack",
    "unstack",
    "with_kinds",
]
