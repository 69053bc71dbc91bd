"""Decode captions of many images in a batch: with beam search, or by sampling for self-critical training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from edgernn.runtime.beam import candidates_per_beam
from edgernn.runtime.pipelines.caption import LENGTH_PENALTY, MAX_TOKENS
from edgernn.tasks.caption.network import Decoder, ImageFeatures
from edgernn.tokenizer import Tokenizer

__all__ = ["beam_captions", "before_end", "sample_captions"]


def before_end(ids: Sequence[int], end: int | None) -> Sequence[int]:
    """Return the tokens of a caption that precede its end token."""
    return ids[: ids.index(end)] if end in ids else ids


@torch.no_grad()
def beam_captions(decoder: Decoder, features: ImageFeatures, tokenizer: Tokenizer, width: int = 1) -> list[list[int]]:
    """Return the best caption of each image, found with a beam of `width`, as the device's `beam_search` finds it.

    A width of 1 is greedy decoding. The captions have no end token.
    """
    was_training = decoder.training
    decoder.eval()
    beams = _Beams(decoder, features, tokenizer, width)
    for length in range(1, MAX_TOKENS + 1):
        if not beams.step(length):
            break
    decoder.train(was_training)
    return beams.best()


class _Beams:
    def __init__(self, decoder: Decoder, features: ImageFeatures, tokenizer: Tokenizer, width: int) -> None:
        assert tokenizer.start_id is not None
        assert tokenizer.end_id is not None
        self._decoder, self._width, self._end = decoder, width, tokenizer.end_id
        images = len(features.vector)
        self._never = list(tokenizer.never_sampled)
        self._ended: list[list[tuple[float, list[int]]]] = [[] for _ in range(images)]
        self._features = features.take([image for image in range(images) for _ in range(width)])
        self._state = decoder.initial_state(images * width)
        self._tokens = torch.full((images * width,), tokenizer.start_id, device=features.vector.device)
        self._totals = torch.full((images, width), -math.inf, device=features.vector.device)
        self._totals[:, 0] = 0.0  # the other beams start as copies and must not be extended
        self._tokens_so_far: list[list[list[int]]] = [[[] for _ in range(width)] for _ in range(images)]

    def step(self, length: int) -> bool:
        """Extend every caption by one word. Returns whether an unfinished caption can still become one of the best."""
        images, width = self._totals.shape
        results = self._decoder(self._tokens, *self._features.tensors, *self._state)
        scores = torch.log_softmax(results[0].float(), 1)
        scores[:, self._never] = -math.inf
        totals = (self._totals.flatten()[:, None] + scores).view(images, -1)
        best, places = totals.topk(min(candidates_per_beam(width), totals.shape[1]), dim=1)
        vocabulary = scores.shape[1]
        rows, tokens, kept = [], [], []
        for image, (values, positions) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            live: list[tuple[float, int, int]] = []
            for value, position in zip(values, positions, strict=True):
                row, token = divmod(position, vocabulary)
                if value == -math.inf or len(live) == width:
                    break
                if token == self._end or length == MAX_TOKENS:
                    tokens_now = self._tokens_so_far[image][row] + ([] if token == self._end else [token])
                    self._ended[image].append((value / length**LENGTH_PENALTY, tokens_now))
                else:
                    live.append((value, row, token))
            self._tokens_so_far[image] = [[*self._tokens_so_far[image][row], token] for _, row, token in live]
            live += [(-math.inf, 0, self._end)] * (width - len(live))
            self._tokens_so_far[image] += [[]] * (width - len(self._tokens_so_far[image]))
            rows += [image * width + row for _, row, _ in live]
            tokens += [token for _, _, token in live]
            kept.append([value for value, _, _ in live])
        device = self._totals.device
        self._tokens, self._totals = torch.tensor(tokens, device=device), torch.tensor(kept, device=device)
        order = torch.tensor(rows, device=device)
        states = results[len(results) - len(self._state) :]
        self._state = tuple(state[:, order] for state in states)
        for image, values in enumerate(kept):
            if self._settled(image, values):
                self._totals[image] = -math.inf
        return bool((self._totals > -math.inf).any())

    def _settled(self, image: int, live: Sequence[float]) -> bool:
        if len(self._ended[image]) < self._width:
            return False
        worst = sorted((score for score, _ in self._ended[image]), reverse=True)[self._width - 1]
        return all(value / MAX_TOKENS**LENGTH_PENALTY <= worst for value in live)

    def best(self) -> list[list[int]]:
        return [max(ended, key=lambda each: each[0])[1] if ended else [] for ended in self._ended]


@torch.no_grad()
def sample_captions(decoder: Decoder, features: ImageFeatures, tokenizer: Tokenizer) -> Tensor:
    """Sample one caption for each image: (images, words), padded with the end token."""
    assert tokenizer.start_id is not None
    assert tokenizer.end_id is not None
    images = len(features.vector)
    state = decoder.initial_state(images)
    token = torch.full((images,), tokenizer.start_id, device=features.vector.device)
    over = torch.zeros(images, dtype=torch.bool, device=token.device)
    sampled = []
    for _ in range(MAX_TOKENS):
        results = decoder(token, *features.tensors, *state)
        logits, state = results[0].float(), results[len(results) - len(state) :]
        logits[:, list(tokenizer.never_sampled)] = -math.inf
        token = torch.multinomial(torch.softmax(logits, 1), 1).squeeze(1)
        token = torch.where(over, tokenizer.end_id, token)
        over |= token == tokenizer.end_id
        sampled.append(token)
        if over.all():
            break
    return torch.stack(sampled, 1)
