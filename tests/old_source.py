"""TEMPORARY: a source of the exporters made of today's run classes, until `Run.load(path).source()` takes its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgernn.bundle import TOKENIZER
from edgernn.exporters.gate import STEPS
from edgernn.models import Feedback, HeldOut, Source
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.training import Run, load_run
from edgernn.training.captioning import CaptionRun
from edgernn.training.run import HELD_OUT

_SEQUENCES = 16


def load_source(path: str | Path) -> Source:
    """The run at `path` as the exporters see it."""
    run = load_run(path)
    held_out = _text(run) if isinstance(run, Run) else _pictures(run)
    return Source(run.network(), {TOKENIZER: run.tokenizer.to_json().encode()}, run.settings(), held_out)


def _text(run: Run) -> HeldOut:
    tokens = run.tokens(HELD_OUT)
    starts = (number * len(tokens) // _SEQUENCES for number in range(_SEQUENCES))
    ids = np.stack([tokens.read(start, STEPS + 1) for start in starts])
    return HeldOut(steps={"token": ids[:, :-1]}, targets={"logits": ids[:, 1:]})


def _pictures(run: CaptionRun) -> HeldOut:
    arrays = {name: tensor.numpy() for name, tensor in run.pictures().items()}
    feedback = Feedback("logits", MAX_TOKENS, tuple(run.tokenizer.never_sampled), run.tokenizer.end_id)
    return HeldOut(
        steps={"token": arrays["dev.tokens"]},
        targets={"logits": arrays["dev.targets"]},
        begin=[{"image": image[None]} for image in arrays["dev.images"]],
        feedback={"token": feedback},
        calibration=[{"image": image[None]} for image in arrays["train.images"]],
    )
