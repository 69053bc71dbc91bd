"""The parts of header and source file that draw, decode and encode texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edgernn.contract import GraphSpec
from edgernn.exporters.c.kernels import source
from edgernn.exporters.c.tokenizer import definitions, tables
from edgernn.sampling import Sampler
from edgernn.tokenizer import Tokenizer

__all__ = ["NO_TEXTS", "Texts", "texts"]

_OWN_HEADER = re.compile(r'#include "NAME\.h"\n+')


class Texts(NamedTuple):
    """What is added to the header and to the source file. constants: those of the sampler, None without one."""

    header: str
    source: str
    constants: Mapping[str, int] | None


NO_TEXTS = Texts("", "", None)


def texts(specs: Sequence[GraphSpec], tokenizer: Tokenizer) -> Texts:
    """Return the sampler, the loop that decodes, and the table of the vocabulary, as far as a bundle can use them.

    The loop is for graphs that need nothing but tokens; the table is for vocabularies of characters or bytes.
    """
    step = next((spec for spec in specs if spec.output_of("next-token") is not None), None)
    if step is None:
        return NO_TEXTS
    parts, made = ["sampling"], tables(tokenizer)
    state = ""
    if len(step.inputs) == len(step.outputs) == 1 and not step.sources and not step.conditions:
        state = f"/* The state of the network that predicts texts. */\ntypedef NAME_{step.name}_state NAME_state;\n"
        parts.append("text")
    parts += ["tokenizer"] if made is not None else []
    header = [definitions(tokenizer, Sampler.repetition_window), state, *(source(f"{part}.h") for part in parts)]
    code = [source(part) if part != "tokenizer" else f"{made}\n\n{source(part)}" for part in parts]
    constants = {"vocabulary": len(tokenizer), "history": Sampler.repetition_window}
    return Texts("\n".join(filter(None, header)), _OWN_HEADER.sub("", "\n".join(code)), constants)
