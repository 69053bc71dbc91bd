"""Translate many sentences in a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from edgernn.runtime.pipelines.translate import MAX_TOKENS
from edgernn.tasks.translate.data import Tokenizers, special_tokens
from edgernn.tasks.translate.network import Translator

__all__ = ["greedy"]

_DECODED = 256  # sentences that are decoded in a batch


@torch.no_grad()
def greedy(network: Translator, sentences: Sequence[str], tokenizers: Tokenizers) -> list[list[int]]:
    """Return the greedy translation of each sentence as token ids, without the end token."""
    (_, read_end, _), (start, end, _) = (special_tokens(tokenizer) for tokenizer in tokenizers)
    device = next(network.parameters()).device
    longest = network.config.longest
    encoded = [
        np.append(tokenizers.source.encode(sentence, unknown="replace")[: longest - 1], read_end)
        for sentence in sentences
    ]
    found: list[list[int]] = []
    for begun in range(0, len(encoded), _DECODED):
        memory = network.encoder.read([torch.from_numpy(ids).to(device) for ids in encoded[begun : begun + _DECODED]])
        state = memory.state
        token = torch.full((state[0].shape[1],), start, device=device)
        written: list[torch.Tensor] = []
        over = torch.zeros_like(token, dtype=torch.bool)
        for _ in range(MAX_TOKENS):
            results = network.decoder(token, *memory.conditions, *state)
            logits, state = results[0], results[len(results) - len(state) :]
            logits[:, list(tokenizers.target.never_sampled)] = -math.inf
            token = torch.where(over, end, logits.argmax(dim=1))
            written.append(token)
            over |= token == end
            if over.all():
                break
        rows = torch.stack(written, 1).tolist()
        found += [ids[: ids.index(end)] if end in ids else ids for ids in rows]
    return found
