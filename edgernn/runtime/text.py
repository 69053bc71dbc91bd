"""The tensors of a graph that hold token ids and the scores of the next token."""

from __future__ import annotations

from edgernn.contract import GraphSpec, TensorSpec
from edgernn.errors import StreamError
from edgernn.tokenizer import Tokenizer

__all__ = ["TextTensors"]


class TextTensors:
    """The tensors of a graph that read and predict tokens, found by their kinds.

    token: the input that reads token ids, (batch,). next_token: the output that scores the next token, (batch,
    vocabulary). Each is None in a graph without such a tensor, and in a bundle without a tokenizer.
    """

    def __init__(self, spec: GraphSpec, tokenizer: Tokenizer | None, task: str) -> None:
        self._spec, self._task = spec, task
        self.tokenizer = tokenizer
        self.token: TensorSpec | None = None if tokenizer is None else spec.input_of("token")
        self.next_token: TensorSpec | None = None if tokenizer is None else spec.output_of("next-token")

    @property
    def reads(self) -> bool:
        """Whether the graph's only input is one token at each step."""
        return self.token is not None and len(self._spec.inputs) == 1

    @property
    def decodes(self) -> bool:
        """Whether the graph can generate text: it reads one token at each step and predicts the next one."""
        return self.reads and self.next_token is not None

    def require_tokenizer(self) -> Tokenizer:
        """Return the tokenizer. Raises StreamError for a bundle without text."""
        if self.tokenizer is None:
            raise StreamError(f"the bundle, of the task {self._task}, has no tokenizer and so reads no text: call step")
        return self.tokenizer

    def require_token(self) -> TensorSpec:
        """Return the input that reads token ids. Raises StreamError for a graph without one, or with further inputs."""
        self.require_tokenizer()
        if self.token is None:
            raise StreamError(f"graph {self._spec.name} reads no token ids: call step with its own inputs")
        if not self.reads:
            raise StreamError(
                f"graph {self._spec.name} reads more than a token at each step: call step with all of its inputs"
            )
        return self.token

    def require_next_token(self) -> TensorSpec:
        """Return the output that scores the next token. Raises StreamError for a graph without one."""
        self.require_tokenizer()
        if self.next_token is None:
            raise StreamError(f"graph {self._spec.name} predicts no next token, so it cannot decode: call step")
        return self.next_token
