"""The step contract: how to run a graph with explicit state, described as data.

    outputs, next_state = step(inputs, conditions, state)

A `Contract` has one `GraphSpec` for each graph of a bundle. A graph is called with its inputs, conditions and states,
in that order, and returns its outputs and next states, in that order. An axis has a fixed size or a name. The axis
named "batch" counts independent streams; a tensor without it cannot be batched.

declaration    the classes that declare a contract
encoding       contracts as JSON
checks         checks of arrays against a contract
batching       joining, splitting and reordering the states of several streams
kinds          the kinds of tensors in old bundles, which declare none
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
    FromSteps,
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
    "FromSteps",
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
