"""`edgernn demo`: the whole way, from text to a stream, on a corpus that every machine has."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgernn.cli.console import Json, log, require_extra, result
from edgernn.cli.export import describe
from edgernn.cli.load import load_model
from edgernn.cli.options import number
from edgernn.cli.train import fit
from edgernn.tasks.language.task import LANGUAGE

if TYPE_CHECKING:
    from edgernn.exporters import Exported

__all__ = ["demo"]

PROMPT = "def "
_SETTINGS: dict[str, Any] = {
    "embedding": 64,
    "hidden": 256,
    "layers": 1,
    "dropout": 0.0,
    "batch_size": 16,
    "bptt": 64,
    "evaluations": 4,
}
_TARGETS = ("onnx", "torchscript")


def demo(
    minutes: Annotated[float, typer.Option(parser=number("minutes", float, low=0.01), help="Minutes to train.")] = 1.0,
    tokens: Annotated[int, typer.Option(parser=number("tokens", low=1), help="Number of tokens to generate.")] = 600,
    folder: Annotated[Path, typer.Option(help="Where runs/demo and bundles/demo* go; they are replaced.")] = Path(),
    json: Json = False,
) -> None:
    """Train on Python's own source, export, prove and stream: the whole way in about a minute and a half.

    [bold]Example:[/bold] edgernn demo
    """
    with require_extra("export"):
        from edgernn.exporters import TARGETS, export
        from edgernn.training import Run, Trainer

    run = folder / "runs" / "demo"
    log(f"1. Training a character LSTM for {minutes:g} min on the source of Python's standard library -> {run}")
    trainer = Trainer.begin(LANGUAGE, ["stdlib"], run, overwrite=True, minutes=minutes, **_SETTINGS)
    best = fit(trainer)
    log(f"   {trainer.parameters:,} parameters, {trainer.step:,} steps, {trainer.seconds:.0f} s")
    log(f"   held-out loss: {best}")
    exported: list[Exported] = []
    for target in _TARGETS:
        bundle = folder / "bundles" / ("demo" if target == "onnx" else f"demo-{target}")
        log(f"{2 + len(exported)}. Exporting to {target} -> {bundle}")
        if TARGETS[target].legacy:
            log(f"   ({TARGETS[target].legacy})")
        exported.append(export(Run.load(run).source(), bundle, target=target, overwrite=True))
        log(f"   {exported[-1].bytes:,} bytes; {describe(exported[-1].parity)}")
    log(f"{2 + len(exported)}. Streaming from {exported[0].path} with onnxruntime on one thread:\n")
    text, rate = _stream(exported[0].path, tokens, aloud=not json)
    values: dict[str, Any] = {
        "run": str(run),
        "best": best.to_json(),
        "exported": [each.to_json() for each in exported],
        "text": text,
        "tokens": tokens,
        "tokens_per_second": rate,
    }
    result(values, f"\n{tokens:,} tokens, {rate:,.0f} tokens/s", as_json=json)
    log(f'Try: edgernn run {shlex.quote(str(exported[0].path))} "class "')


def _stream(bundle: Path, tokens: int, *, aloud: bool) -> tuple[str, float]:
    """Generate from the bundle: the text, and tokens per second."""
    from edgernn.runtime import Sampler

    stream = load_model(bundle).stream(Sampler(temperature=0.8, top_k=40, seed=0))
    stream.prefill(PROMPT)
    pieces, begun = [PROMPT], time.perf_counter()
    if aloud:
        print(PROMPT, end="", flush=True)
    for text in stream.decode(tokens):
        pieces.append(text)
        if aloud:
            print(text, end="", flush=True)
    return "".join(pieces), tokens / (time.perf_counter() - begun)
