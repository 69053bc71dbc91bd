"""Score a language model on a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from edgernn.errors import ConfigError
from edgernn.media.text import read_pieces, remarks
from edgernn.runtime import Model
from edgernn.runtime.scoring import score
from edgernn.tasks.language.settings import LanguageEvaluation
from edgernn.tasks.score import Evaluation, Progress

__all__ = ["evaluate"]

_STANDARD_INPUT = "-"
_PIECE = 4096  # characters between two reports of progress


def evaluate(model: Model, settings: LanguageEvaluation, progress: Progress) -> Evaluation:
    """The score of a text file, or of standard input, read as one stream; memory does not grow with a file.

    Raises ConfigError if no file is named, CorpusError for a file that is not text, StreamError for a text of fewer
    than two tokens.
    """
    if not settings.text:
        raise ConfigError("a language model is evaluated on a text: name a file with --text")
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

    found, notes = score(model, pieces()), remarks(source, name, settings)
    if found.unknown:
        tokens = "1 token is" if found.unknown == 1 else f"{found.unknown:,} tokens are"
        notes.append(f"{tokens} outside the vocabulary: they are scored as the unknown token")
    return Evaluation(found, notes)


def _source(text: str) -> tuple[Path | bytes, str, int]:
    """What `--text` names: a file or the bytes of standard input, what messages call it, and how many bytes it has."""
    if text != _STANDARD_INPUT:
        path = Path(text)
        return path, text, max(1, path.stat().st_size if path.is_file() else 1)
    data = b"" if sys.stdin is None else sys.stdin.buffer.read()
    return data, "standard input", max(1, len(data))
