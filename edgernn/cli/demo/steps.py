"""The steps of the demo. Each shows what it does on the screen and returns what it came to, measured in this run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgernn.bundle import Bundle, new_bundle
from edgernn.cli.console import printable, require_extra
from edgernn.cli.demo.drawing import Picture, lit, sparkline
from edgernn.cli.demo.screen import Screen
from edgernn.cli.load import load_bundle, load_model
from edgernn.errors import CheckFailedError
from edgernn.tasks.language.task import LANGUAGE

if TYPE_CHECKING:
    from edgernn.contract import Array
    from edgernn.data.scenes import Scene
    from edgernn.exporters import Exported
    from edgernn.models import Network
    from edgernn.runtime.suggest import Suggestion
    from edgernn.tasks.score import Score
    from edgernn.training import Run

__all__ = [
    "PROMPT",
    "SCENES",
    "Outcome",
    "copy_bundle",
    "describe",
    "export",
    "learn",
    "resume",
    "scene",
    "stream",
    "suggest",
]

SCENES = Path(__file__).parent / "scenes"
"""The bundle that describes drawn scenes."""

_SETTINGS: dict[str, Any] = {
    "embedding": 64,
    "hidden": 256,
    "layers": 1,
    "dropout": 0.0,
    "batch_size": 16,
    "bptt": 64,
    "evaluations": 3,
    "held_out": "0.02",
    "optimizer": "adamw",  # a step of Muon takes longer, and training takes only a minute
}
PROMPT = "def read(self, "
_LINES, _SAMPLE = 4, 240  # lines of a sample that are shown, and the characters that are drawn for them
_TEMPERATURE, _TOP_K = 0.7, 20  # colder, it may write spaces alone
_HALF_TYPED = ("import o", "for i in ra", "        except Va", "        raise ValueE", "    def __in")
_LIKELY = 0.01  # a suggestion that is less probable is not shown
_BEFORE, _AFTER = 80, 200  # characters before and after a snapshot
_SHOWN = 60  # characters of each of two continuations
_PICTURE, _TILE = 24, 12  # characters across
_WORDS_ACROSS = 4
_LITTLE = frozenset({"a", "an", "and", "are", "at", "in", "is", "of", "on", "the", "there", "to"})


class Outcome(Protocol):
    """What a step came to. summary: in a sentence, as the screen shows it."""

    @property
    def summary(self) -> str:
        """In a sentence."""
        ...

    def to_json(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        ...


@dataclass(frozen=True)
class Learned:
    """A network that has learned from a text. score: of its best weights, on text that it has not seen."""

    run: Run
    parameters: int
    steps: int
    seconds: float
    score: Score
    samples: Mapping[str, str]

    @property
    def summary(self) -> str:
        """In a sentence."""
        score = self.score.to_json()
        return (
            f"after {self.seconds:.0f} s, {score['nats_per_char']:.3f} nats per character on "
            f"{score['chars']:,} characters that were held out"
        )

    def to_json(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        cost = {"parameters": self.parameters, "steps": self.steps, "seconds": round(self.seconds, 3)}
        return {"run": str(self.run.path), **cost, "best": self.score.to_json(), "samples": dict(self.samples)}


def learn(screen: Screen, folder: Path, minutes: float) -> Learned:
    """Train a character LSTM; the same prompt is continued before, half-way and afterwards."""
    screen.heading("A character LSTM learns to write Python from the source of the standard library")
    with screen.busy("importing PyTorch"), require_extra("demo"):
        from edgernn.training import Evaluated, Trainer
    with screen.busy("reading the standard library"):
        run = folder / "runs" / "demo"
        trainer = Trainer.begin(LANGUAGE, ["stdlib"], run, overwrite=True, minutes=minutes, **_SETTINGS)
    characters = trainer.run.prepared.record["train_chars"]
    screen.detail(f"{trainer.parameters:,} parameters, {characters:,} characters, {minutes:.2g} min of training")
    samples = {"before": _sample(trainer.average, trainer.run)}
    _show_sample(screen, "before", samples["before"])
    losses: list[float] = []
    scores: list[Score] = []
    with screen.busy("training") as show:
        for event in trainer.fit():
            if event.progress >= 0.5 and "half-way" not in samples:
                samples["half-way"] = _sample(trainer.average, trainer.run)
                _show_sample(screen, "half-way", samples["half-way"])
            if isinstance(event, Evaluated):
                scores.append(event.score)
                continue
            losses.append(event.figures["nats"])
            show(event.progress, f"loss {losses[-1]:.2f} · {event.rate:,.0f} characters/s")
    samples["after"] = _sample(trainer.run.network(), trainer.run)
    _show_sample(screen, "after", samples["after"])
    screen.detail(f"loss in nats: {losses[0]:.2f} {sparkline(losses)} {losses[-1]:.2f}")
    best = min(scores, key=lambda score: score.figures["nats_per_char"])
    learned = Learned(trainer.run, trainer.parameters, trainer.step, trainer.seconds, best, samples)
    screen.result(learned.summary)
    return learned


def _sample(network: Network, run: Run) -> str:
    """How `network` continues the prompt: always the same for the same weights."""
    from edgernn.engines import eager_model
    from edgernn.models import Source
    from edgernn.runtime import Sampler

    model = eager_model(Source(network.eval(), run.prepared.assets, {}, run.prepared.held_out))
    text = model.stream(Sampler(_TEMPERATURE, _TOP_K, seed=0)).complete(PROMPT, _SAMPLE, echo=True)
    return "\n".join([line for line in text.split("\n") if line.strip()][:_LINES])


def _show_sample(screen: Screen, when: str, sample: str) -> None:
    shown = Table.grid(padding=(0, 2))
    shown.add_column(style="bold", min_width=8, no_wrap=True)
    shown.add_column()
    shown.add_row(when, Text("\n".join(map(printable, sample.split("\n"))), no_wrap=True, overflow="ellipsis"))
    screen.detail(shown)


@dataclass(frozen=True)
class Proven:
    """The network as bundles, each compared with it step by step."""

    fp32: Exported
    int8: Exported

    @property
    def summary(self) -> str:
        """In a sentence."""
        share = self.int8.bytes / self.fp32.bytes
        return f"two bundles, both within their tolerance; int8 takes {self.int8.bytes:,} bytes, {share:.0%} of fp32"

    def to_json(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        return {"fp32": self.fp32.to_json(), "int8": self.int8.to_json()}


def export(screen: Screen, run: Run, folder: Path) -> Proven:
    """Export the network at two precisions, which succeeds only if each bundle passes the parity gate."""
    screen.heading("It is exported to ONNX, and each bundle is compared with the trained network")
    with screen.busy("importing the exporter"), require_extra("demo"):
        from edgernn.exporters import export as write
    source, bundles = run.source(), folder / "bundles"
    with screen.busy("exporting at fp32 and comparing"):
        fp32 = write(source, bundles / "demo-fp32", precision="fp32", overwrite=True)
    screen.detail(_closeness(fp32))
    with screen.busy("exporting at int8 and comparing"):
        int8 = write(source, bundles / "demo", precision="int8", overwrite=True)
    screen.detail(_closeness(int8))
    proven = Proven(fp32, int8)
    screen.result(proven.summary)
    return proven


def _closeness(exported: Exported) -> str:
    """How close a bundle is to the network: nowhere exactly equal, since both round."""
    parity = exported.parity
    text = (
        f"{exported.precision}: {exported.bytes:,} bytes; over {parity.steps:,} chained steps the outputs differ by at "
        f"most {parity.max_abs_diff_outputs:.2g}"
    )
    if exported.precision != "fp32":
        text += f", by {parity.rms_diff_outputs:.1%} in the root mean square"
    if parity.loss is not None:
        text += f"; loss {parity.loss.source:.4f} before and {parity.loss.artifact:.4f} after, on a part of the text"
    return text


@dataclass(frozen=True)
class Streamed:
    """A text that a bundle generated. seconds: without the printing."""

    bundle: Path
    text: str
    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        """Characters per second."""
        return self.tokens / self.seconds

    @property
    def summary(self) -> str:
        """In a sentence."""
        return f"{self.tokens:,} characters at {self.rate:,.0f} characters/s, printing not counted"

    def to_json(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        return {"bundle": str(self.bundle), "text": self.text, "tokens": self.tokens, "tokens_per_second": self.rate}


def stream(screen: Screen, bundle: Path, tokens: int) -> Streamed:
    """Generate text character by character."""
    from edgernn.runtime import Sampler

    screen.heading("The int8 bundle streams text, with onnxruntime on one thread and no PyTorch")
    running = load_model(bundle).stream(Sampler(_TEMPERATURE, _TOP_K, seed=0))
    running.prefill(PROMPT)
    screen.write(PROMPT)
    pieces, seconds, before = [PROMPT], 0.0, time.perf_counter()
    for piece in running.decode(tokens):
        seconds += time.perf_counter() - before
        pieces.append(piece)
        screen.write(piece)
        before = time.perf_counter()
    streamed = Streamed(bundle, "".join(pieces), tokens, seconds)
    screen.result(streamed.summary)
    return streamed


@dataclass(frozen=True)
class Suggested:
    """The likeliest next words after half-typed lines. milliseconds: for the words after one line, on average."""

    words: Mapping[str, Sequence[Suggestion]]
    milliseconds: float

    @property
    def summary(self) -> str:
        """In a sentence."""
        return f"the likeliest words for each of {len(self.words)} lines, {self.milliseconds:.1f} ms a line"

    def to_json(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        words = {line: [asdict(word) for word in words] for line, words in self.words.items()}
        return {"words": words, "milliseconds": self.milliseconds}


def suggest(screen: Screen, bundle: Path) -> Suggested:
    """Suggest three next words for lines that are half typed."""
    from edgernn.runtime import suggest as likeliest

    screen.heading("It suggests up to three words for a half-typed line, as a keyboard does")
    model = load_model(bundle)
    begun = time.perf_counter()
    words = {line: likeliest(model, line) for line in _HALF_TYPED}
    suggested = Suggested(words, 1000 * (time.perf_counter() - begun) / len(words))
    shown = Table.grid(padding=(0, 3))
    for line, found in words.items():
        likely = [each for each in found if each.probability >= _LIKELY]
        shown.add_row(
            f"{line.strip()}▏", *(f"{_whole_word(line, each.text)} {each.probability:.0%}" for each in likely)
        )
    screen.detail(shown)
    screen.result(suggested.summary)
    return suggested


def _whole_word(line: str, end: str) -> str:
    """The word that `end` completes, with its beginning in `line`."""
    beginning = line[len(line.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")) :]
    return printable(beginning + end)


@dataclass(frozen=True)
class Resumed:
    """Two texts that continue one snapshot, each in another engine. snapshot: its size in bytes."""

    snapshot: int
    here: str
    there: str

    @property
    def equal(self) -> int:
        """How many characters are the same before the first that is not."""
        pairs = zip(self.here, self.there, strict=False)
        return next((at for at, (one, other) in enumerate(pairs) if one != other), len(self.here))

    @property
    def summary(self) -> str:
        """In a sentence."""
        if self.here == self.there:
            return (
                f"a snapshot of {self.snapshot:,} bytes, resumed in PyTorch: all {len(self.here)} characters are equal"
            )
        return f"the texts differ from character {self.equal + 1} of {len(self.here)} on"

    def to_json(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        return {"snapshot_bytes": self.snapshot, "characters": len(self.here), "equal": self.equal}


def resume(screen: Screen, bundle: Path, run: Run) -> Resumed:
    """Take a snapshot in onnxruntime, and go on from it there and in PyTorch.

    Raises CheckFailedError if the two texts differ.
    """
    from edgernn.engines import eager_model
    from edgernn.runtime import Sampler

    screen.heading("A snapshot taken in onnxruntime is resumed in another engine, PyTorch")
    here = load_model(bundle).stream(Sampler(_TEMPERATURE, _TOP_K, seed=0))
    here.complete("class ", _BEFORE)
    snapshot = here.snapshot()
    there = eager_model(run.source()).stream()
    there.restore(snapshot)
    resumed = Resumed(len(snapshot), *("".join(each.decode(_AFTER)) for each in (here, there)))
    shown = Table.grid(padding=(0, 2))
    shown.add_row("onnxruntime", Text(f"…{resumed.here[:_SHOWN]!r}…"))
    shown.add_row("PyTorch", Text(f"…{resumed.there[:_SHOWN]!r}…"))
    screen.detail(shown)
    if resumed.here != resumed.there:
        raise CheckFailedError(resumed.summary)
    screen.result(resumed.summary)
    return resumed


@dataclass(frozen=True)
class Described:
    """A picture in words. scene: what was drawn. steps: how many recorded steps of the bundle were repeated."""

    bundle: Path
    picture: Path
    bytes: int
    steps: int
    caption: str
    true: bool

    @property
    def summary(self) -> str:
        """In a sentence."""
        return f"“{self.caption}”, which is {'true' if self.true else 'not true'} of the picture"

    def to_json(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        paths = {"bundle": str(self.bundle), "picture": str(self.picture), "bundle_bytes": self.bytes}
        return {**paths, "verified_steps": self.steps, "caption": self.caption, "true": self.true}


def describe(screen: Screen, folder: Path) -> Described:
    """Copy the bundle that was trained beforehand, verify it, and have it describe a picture."""
    screen.heading("Another network, trained beforehand, describes a picture in words")
    with require_extra("demo"):
        import PIL.Image
    from edgernn.runtime.golden import verify
    from edgernn.runtime.pipelines.caption import attention_maps, caption_image

    drawn = scene()
    image = drawn.read()
    bundle, picture = folder / "bundles" / "scenes", folder / "bundles" / "scene.png"
    copied = copy_bundle(SCENES, bundle)
    PIL.Image.fromarray(image).save(picture)
    with screen.busy("verifying the bundle"):
        parity = verify(*load_bundle(bundle))
    size = sum(map(len, copied.files.values()))
    screen.detail(f"int8, {size:,} bytes; verified: SHA-256 of every file, and {parity.steps} recorded steps repeated")
    model = load_model(bundle)
    found = caption_image(model, image)
    words = found.text.split()
    maps = attention_maps(model, image, found.candidates[0].tokens[: len(words)])
    screen.detail("the picture, and where the network looks while it writes each of these words:")
    screen.detail(_drawn(image, words, maps))
    described = Described(bundle, picture, size, parity.steps, found.text, drawn.allows(found.text))
    screen.result(described.summary)
    return described


def scene() -> Scene:
    """What is drawn; no scene of the training has it."""
    from edgernn.data.scenes import Scene, Thing

    return Scene((Thing("large", "red", "circle", 20, 18), Thing("small", "blue", "square", 42, 46)), 90, 0)


def copy_bundle(bundle: Path, out: Path) -> Bundle:
    """Copy a bundle, whose digests are checked while it is read."""
    loaded = Bundle.load(bundle)
    with new_bundle(out, overwrite=True) as writer:
        for name, data in loaded.files.items():
            (writer.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (writer.directory / name).write_bytes(data)
        writer.finish(loaded.manifest)
    return loaded


def _drawn(image: Array, words: Sequence[str], maps: Array) -> RenderableType:
    """The picture, and beside it, for each word that says something, where the network looked."""
    tiles = [
        Group(Text(word, style="bold"), Picture(lit(image, weights), _TILE))
        for word, weights in zip(words, maps, strict=True)
        if word not in _LITTLE
    ]
    grid = Table.grid(padding=(0, 1))
    for start in range(0, len(tiles), _WORDS_ACROSS):
        grid.add_row(*tiles[start : start + _WORDS_ACROSS])
    both = Table.grid(padding=(0, 1))
    both.add_row(Picture(image, _PICTURE), grid)
    return both
