"""A look at what a network would write."""

from __future__ import annotations

import torch

from edgernn.sampling import Generator, Sampler
from edgernn.tasks.language.network import LanguageModel
from edgernn.tokenizer import Ids, Tokenizer

__all__ = ["sample"]

_SAMPLER = Sampler(temperature=0.8, top_k=40)


@torch.no_grad()
def sample(model: LanguageModel, tokenizer: Tokenizer, prompt: Ids, tokens: int) -> str:
    """The text of `tokens` tokens that follow the tokens of `prompt`: always the same ones for the same weights."""
    was_training, generator = model.training, Generator(0)
    model.eval()
    device = next(model.parameters()).device
    state = model.initial_state(1)
    drawn: list[int] = []
    for token in prompt:
        logits, *state = model(torch.tensor([token], device=device), *state)
    for _ in range(tokens):
        scores = logits[0].float().cpu().numpy()
        drawn.append(_SAMPLER(scores, generator, forbidden=tokenizer.never_sampled))
        logits, *state = model(torch.tensor([drawn[-1]], device=device), *state)
    model.train(was_training)
    return tokenizer.decode(drawn)
