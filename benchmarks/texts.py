"""What language models have learned: their loss, measures of the texts that they generate, and samples of each stage.

python benchmarks/texts.py runs/shakespeare runs/linux=c runs/stacks=latex

Each run is exported, and the bundle is measured with the runtime: its loss on the text that the training held out, and
the texts that it generates. Each of these continues a place in the held-out text, with a fixed seed. The same measures
are shown of the held-out text that follows there, and of its characters in random order.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgernn.data.corpus import CorpusRecord
from edgernn.data.tokens import TokenFile
from edgernn.errors import counted
from edgernn.exporters import export
from edgernn.runtime import Model, Sampler
from edgernn.score import Score
from edgernn.syntax import Share, c_brackets, c_lines, latex_brackets, latex_environments, latex_formulas
from edgernn.tasks.language.data import TRAIN, open_held_out
from edgernn.tasks.language.score import evaluate
from edgernn.tasks.language.settings import LanguageConfig, LanguageEvaluation
from edgernn.tokenizer import Ids, Tokenizer
from edgernn.training import Run
from edgernn.training.stages import Stage, side_by_side, spread
from edgernn.training.trainer import ignore_progress

Measure = Callable[[str], Share]

SYNTAX: Mapping[str, Mapping[str, Measure]] = {
    "": {},
    "c": {"lines that a lexer of C accepts": c_lines, "brackets in pairs": c_brackets},
    "latex": {
        "brackets in pairs": latex_brackets,
        "environments in pairs": latex_environments,
        "dollar signs in pairs": latex_formulas,
    },
}
SAMPLERS: Mapping[str, Mapping[str, Any]] = {
    "temperature 1": {"temperature": 1.0},
    "temperature 0.8, top-k 40": {"temperature": 0.8, "top_k": 40},
}
PROMPT = 200  # tokens
LONG = 50  # characters: sequences that the training text has too are copied from it, if they are as long as this
CHUNK = 1 << 20  # tokens that are decoded in one call
WORD = re.compile(r"[^\W\d]\w\w+")  # of three characters or more: fewer are often words by chance


class Place(NamedTuple):
    """A place in the held-out text: the tokens before it, and the text that follows it."""

    prompt: Ids
    real: str


def main() -> None:
    """Print the report of each run, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN[=SYNTAX]", help="a run, and the syntax of its text: c or latex")
    parser.add_argument("--texts", type=int, default=10, help="the number of texts to generate with each sampler")
    parser.add_argument("--length", type=int, default=10_000, help="the number of tokens of each text, at most")
    parser.add_argument("--stages", type=int, default=6, help="the number of stages of the training to show")
    parser.add_argument("--characters", type=int, default=400, help="the number of characters to show of each stage")
    written = "write the report of each run into this page, between <!-- texts: RUN --> and <!-- end -->"
    parser.add_argument("--write", type=Path, metavar="PAGE", help=written)
    arguments = parser.parse_args()
    runs = [(Run.load(path), syntax) for path, _, syntax in (named.partition("=") for named in arguments.runs)]
    for run, syntax in runs:  # before minutes are spent on measuring
        if syntax not in SYNTAX:
            parser.error(f"{run.path}={syntax}: the syntax is {' or '.join(filter(None, SYNTAX))}")
        if arguments.write is not None:
            around(arguments.write, name_of(run))
    for run, syntax in runs:
        model = exported(run)
        loss = evaluate(model, LanguageEvaluation(), ignore_progress, run.data).score
        assert isinstance(loss, Score)
        table = measured(run, model, SYNTAX[syntax], arguments.texts, arguments.length)
        samples = side_by_side([shown(each, arguments.characters) for each in spread(run.stages(), arguments.stages)])
        report = f"{about(run, loss)}\n\n{table}\n\n{samples}\n"
        if arguments.write is None:
            print(report, flush=True)
        else:
            before, after = around(arguments.write, name_of(run))
            arguments.write.write_text(f"{before}\n{report}\n{after}", encoding="utf-8")


def name_of(run: Run) -> str:
    """The name of a run in a page."""
    return run.path.resolve().name


def exported(run: Run) -> Model:
    """The run as a bundle for onnxruntime, at full precision."""
    with tempfile.TemporaryDirectory() as folder:
        return Model.load(export(run.source(), Path(folder) / "bundle").path)


def about(run: Run, loss: Score) -> str:
    """The network, its training and its loss, in a sentence each."""
    config, record = run.prepared.chosen.model, CorpusRecord.from_json(dict(run.prepared.record))
    assert isinstance(config, LanguageConfig)
    parameters = sum(each.numel() for each in run.network().parameters())
    last = run.metrics()[-1]
    passes = "".join(f"{stage.passes:.3g} passes over " for stage in run.stages()[-1:])
    return (
        f"The network has {counted(config.layers, 'layer')} of {config.hidden:,} units ({config.cell}) and "
        f"{parameters:,} parameters. It was trained in {last['step']:,} steps, {passes}{record.train_chars:,} "
        f"characters, which took {last['seconds'] / 60:,.3g} minutes. Its loss on {loss.chars:,} characters that were "
        f"held out, read as one stream, is **{loss.nats_per_char:.4f} nats per character, {loss.bits_per_char:.3f} "
        "bits**."
    )


def measured(run: Run, model: Model, syntax: Mapping[str, Measure], count: int, length: int) -> str:
    """The table of measures: of real text, of its characters in random order, and of what each sampler generates."""
    tokenizer = model.text_of("step").require_tokenizer()
    places = held_out_places(run, tokenizer, count, length)
    real = [place.real for place in places]
    columns = {
        "characters in random order": [shuffled(text, seed) for seed, text in enumerate(real)],
        **{name: list(generated(model, places, length, settings)) for name, settings in SAMPLERS.items()},
        "held-out text": real,
    }
    measures = {**syntax, **of_training_text(training_text(run, tokenizer))}
    rows = [
        [name, *(str(sum(map(measure, texts), Share(0, 0))) for texts in columns.values())]
        for name, measure in measures.items()
    ]
    head = ["", *columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def held_out_places(run: Run, tokenizer: Tokenizer, count: int, length: int) -> list[Place]:
    """`count` places at equal distances in the text that the run held out."""
    tokens, _ = open_held_out(run.data.folder, run.data.record, len(tokenizer))
    piece = len(tokens) // count
    prompt = min(PROMPT, piece // 2)
    following = min(length, piece - prompt)
    starts = range(0, count * piece, piece)
    return [
        Place(tokens.read(start, prompt), tokenizer.decode(tokens.read(start + prompt, following).tolist()))
        for start in starts
    ]


def generated(model: Model, places: Sequence[Place], length: int, settings: Mapping[str, Any]) -> Iterator[str]:
    """Continue each place with a text as long as the real one, with its number as the seed."""
    for seed, place in enumerate(places):
        stream = model.stream(Sampler(seed=seed, **settings))
        stream.prefill(place.prompt)
        yield "".join(stream.decode(length))[: len(place.real)]


def shuffled(text: str, seed: int) -> str:
    """The characters of `text` in random order."""
    return "".join(random.Random(seed).sample(text, len(text)))


def training_text(run: Run, tokenizer: Tokenizer) -> str:
    """The text that the run was trained on."""
    tokens = TokenFile(run.data.folder / TRAIN, len(tokenizer))
    chunks = (tokens.read(start, min(CHUNK, len(tokens) - start)) for start in range(0, len(tokens), CHUNK))
    return "".join(tokenizer.decode(chunk.tolist()) for chunk in chunks)


def of_training_text(text: str) -> dict[str, Measure]:
    """Measures of what a text has in common with the training text: its words, and long sequences of characters."""
    words, sequences = set(WORD.findall(text)), np.unique(hashes(text))

    def known(other: str) -> Share:
        found = WORD.findall(other)
        return Share(sum(word in words for word in found), len(found))

    def copied(other: str) -> Share:
        found = hashes(other)
        return Share(int(np.isin(found, sequences).sum()), len(found))

    return {"words of the training text": known, f"sequences of {LONG} characters of the training text": copied}


def hashes(text: str) -> npt.NDArray[np.uint64]:
    """A hash of each sequence of `LONG` characters, (characters - LONG + 1,)."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    found = np.zeros(max(0, len(codes) - LONG + 1), np.uint64)
    for offset in range(LONG if len(found) else 0):
        found *= np.uint64(0x9E3779B97F4A7C15)  # odd, so that no character is lost in the overflow
        found += codes[offset : offset + len(found)]
    return found


def shown(stage: Stage, characters: int) -> tuple[str, str]:
    """The title and the sample of a stage, as the table shows them."""
    nats = stage.figures["nats_per_char"]
    title = f"step {stage.step:,}, {stage.passes:.3g} passes: {nats:.3f} nats, {nats / math.log(2):.3f} bits"
    return title, stage.samples.get("sample", "")[:characters].expandtabs()


def around(page: Path, name: str) -> tuple[str, str]:
    """What stands in a page before and after the part `name`, with its marks. Exits if the page has no such part."""
    before, begins, rest = page.read_text(encoding="utf-8").partition(f"<!-- texts: {name} -->\n")
    _, ends, after = rest.partition("<!-- end -->")
    if not ends:
        raise SystemExit(f"{page} has no part between <!-- texts: {name} --> and <!-- end -->: add both lines to it")
    return before + begins, ends + after


if __name__ == "__main__":
    main()
