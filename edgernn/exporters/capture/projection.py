"""LSTMs with a projection (proj_size) as matrix products, for exporters whose own operator has no projection.

    i, f, g, o = split(x W_ih + b_ih + h W_hh + b_hh)
    c = sigmoid(f) c + sigmoid(i) tanh(g),    h = (sigmoid(o) tanh(c)) W_hr

H. Sak, A. Senior, F. Beaufays: Long short-term memory based recurrent neural network architectures for large vocabulary
speech recognition, 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from edgernn.errors import ExportError

__all__ = ["unrolled_projections"]

_Pair = tuple[Tensor, Tensor]
_PARTS = 3  # of the state's matrices: input, recurrent, projection


@contextmanager
def unrolled_projections() -> Iterator[None]:
    """While this context is active, LSTMs with a projection are unrolled over time.

    Raises ExportError if the number of steps is not fixed.
    """
    with _Unrolling():
        yield


class _Unrolling(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace `torch.lstm` if the state h is narrower than c."""
        if getattr(func, "__name__", "") == "lstm" and len(args) == len(_ARGUMENTS):
            given = dict(zip(_ARGUMENTS, args, strict=True))
            h, c = given["state"]
            if h.shape[-1] != c.shape[-1]:
                return _lstm(given)
        return func(*args, **(kwargs or {}))


_ARGUMENTS = ("input", "state", "weights", "biases", "layers", "dropout", "train", "bidirectional", "batch_first")


def _lstm(given: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Return sequence (time, batch, directions * projection), last h and last c, each (layers * directions, …)."""
    x = given["input"].transpose(0, 1) if given["batch_first"] else given["input"]
    if not isinstance(x.shape[0], int):
        raise ExportError("an LSTM with proj_size is exported for a fixed number of steps: give its time axis a size")
    directions, size = 1 + given["bidirectional"], _PARTS + 2 * given["biases"]
    hs, cs = list[Tensor](), list[Tensor]()
    for layer in range(given["layers"]):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            weights = given["weights"][place * size : (place + 1) * size]
            frames = list(x.unbind(0))[:: -1 if direction else 1]
            y, (h, c) = _direction(frames, (given["state"][0][place], given["state"][1][place]), weights)
            outputs.append(torch.stack(y[:: -1 if direction else 1]))
            hs.append(h)
            cs.append(c)
        x = torch.cat(outputs, 2)
    return x.transpose(0, 1) if given["batch_first"] else x, torch.stack(hs), torch.stack(cs)


def _direction(frames: Sequence[Tensor], state: _Pair, weights: Sequence[Tensor]) -> tuple[list[Tensor], _Pair]:
    into, recurrent, *biases, projection = weights
    bias = biases[0] + biases[1] if biases else None
    (h, c), outputs = state, []
    for frame in frames:
        i, f, g, o = (linear(frame, into, bias) + linear(h, recurrent)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = linear(torch.sigmoid(o) * torch.tanh(c), projection)
        outputs.append(h)
    return outputs, (h, c)
