"""Score a language model on a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from edgernn.errors import ConfigError, counted
from edgernn.media.text import read_pieces, remarks
from edgernn.runtime import Model
from edgernn.runtime.model import STEP
from edgernn.runtime.scoring import score, score_tokens
from edgernn.score import Score
from edgernn.tasks.language.data import open_held_out
from edgernn.tasks.language.settings import LanguageEvaluation
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out
from edgernn.tokenizer import Ids

__all__ = ["evaluate"]

_STANDARD_INPUT = "-"
_PIECE = 4096  # characters or tokens between two reports of progress


def evaluate(model: Model, settings: LanguageEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """The score of a text file, or of standard input, read as one stream; memory does not grow with a file.

    Without --text, it is the text that the run of the model, with the data `own`, held out.
    Raises ConfigError if there is none of either, CorpusError for a file that is not text, StreamError for a text of
    fewer than two tokens.
    """
    if not settings.text:
        if own is None:
            raise ConfigError("a language model is evaluated on a text: name a file with --text")
        settings.refuse_for("the text that a run held out")
        return _evaluate_held_out(model, progress, own)
    source, name, size = _source(settings.text)
    done = 0

    def pieces() -> Iterator[str]:
        nonlocal done
        for block in read_pieces(source, name, settings):
            for start in range(0, len(block), _PIECE):
                piece = block[start : start + _PIECE]
                yield piece
                done += len(piece)
                progress(min(1.0, done / size), f"{done:,} characters")

    found = score(model, pieces())
    return Evaluation(found, [*remarks(source, name, settings), *_unknown(found)])


def _evaluate_held_out(model: Model, progress: Progress, own: RunData) -> Evaluation:
    """Return the score of the text that a run held out, read as one stream."""
    tokens, chars = open_held_out(own.folder, own.record, len(model.text_of(STEP).require_tokenizer()))

    def pieces() -> Iterator[Ids]:
        for start in range(0, len(tokens), _PIECE):
            yield tokens.read(start, min(_PIECE, len(tokens) - start))
            progress(min(1.0, (start + _PIECE) / len(tokens)), f"{min(start + _PIECE, len(tokens)):,} tokens")

    found = score_tokens(model, pieces(), chars)
    return Evaluation(found, [note_held_out(f"the {counted(chars, 'character')}", "--text"), *_unknown(found)])


def _unknown(found: Score) -> list[str]:
    """Return a note on tokens outside the vocabulary, if there are any."""
    if not found.unknown:
        return []
    tokens = "1 token is" if found.unknown == 1 else f"{found.unknown:,} tokens are"
    return [f"{tokens} outside the vocabulary: they are scored as the unknown token"]


def _source(text: str) -> tuple[Path | bytes, str, int]:
    """What `--text` names: a file or the bytes of standard input, what messages call it, and how many bytes it has."""
    if text != _STANDARD_INPUT:
        path = Path(text)
        return path, text, max(1, path.stat().st_size if path.is_file() else 1)
    data = b"" if sys.stdin is None else sys.stdin.buffer.read()
    return data, "standard input", max(1, len(data))
