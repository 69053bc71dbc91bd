"""Damage bundles in many ways, and see that each is refused by name or works.

    python tests/fuzz.py --mutations 100000

Half of the damaged bundles carry right sizes and digests, so that the parsers behind them are reached. Each is loaded,
stepped and verified in a child process with little memory and little time. The exit status is 1 if any of them hurt it:
an exception that is none of edgernn's, a crash, too much memory, too much time.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hostile import damage

SECONDS = 20  # for one bundle
MEMORY = 2 << 30  # bytes of address space beyond what the libraries take
EXPORTS = {
    "onnx-fp32": ("onnx", "fp32"),
    "onnx-int8": ("onnx", "int8"),
    "onnx-int4": ("onnx", "int4"),
    "ort-int8": ("ort", "int8"),
    "torchscript-int8": ("torchscript", "int8"),
    "executorch-int8": ("executorch", "int8"),
}
SAFE = [name for name in EXPORTS if name.startswith("o")]  # the others' runtimes may crash, see docs/export.md


@dataclass
class Report:
    """What became of the bundles. findings: those that hurt, by what happened, as numbers that reproduce them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[int, str]] = field(default_factory=list)

    def add(self, number: int, outcome: str) -> None:
        """Count one."""
        kind, _, about = outcome.partition(" ")
        self.outcomes[kind] += 1
        if kind not in ("refused", "works"):
            self.findings.append((number, f"{kind} {about}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all mutations: 0 if none of them hurt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to see it again")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--exports", nargs="+", choices=EXPORTS, default=SAFE)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        work(options.child, options.first, options.mutations, options.workers)
        return 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        make_bundles(Path(folder), options.exports)
        report = Report()
        threads = [
            threading.Thread(target=watch, args=(Path(folder), lane, options, report))
            for lane in range(options.workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(", ".join(f"{count:,} {kind}" for kind, count in sorted(report.outcomes.items())))
    for number, about in sorted(report.findings)[:50]:
        print(f"--first {number} --mutations 1: {about}")
    return 1 if report.findings else 0


def make_bundles(folder: Path, exports: Sequence[str]) -> None:
    """A small language model at each of `exports`."""
    import torch

    from edgernn.bundle import TOKENIZER
    from edgernn.exporters import export
    from edgernn.models import Source
    from edgernn.tasks.language.network import LanguageConfig, LanguageModel
    from edgernn.tokenizer import Tokenizer

    torch.manual_seed(0)
    shape = {"cell": "gru", "hidden": 32, "layers": 1, "embedding": 8, "initial": "learned"}
    assets = {TOKENIZER: Tokenizer.characters("abcdefghij").to_json().encode()}
    source = Source(LanguageModel(LanguageConfig(11, **shape)).eval(), assets)
    for name in exports:
        target, precision = EXPORTS[name]
        export(source, folder / "bundles" / name, target=target, precision=precision, steps=16)


def watch(folder: Path, lane: int, options: argparse.Namespace, report: Report) -> None:
    """Let child processes do every `workers`-th mutation, and begin a new one after each that was lost."""
    number, end = options.first + lane, options.first + options.mutations
    while number < end:
        command = [sys.executable, __file__, "--child", str(folder), "--first", str(number)]
        command += ["--mutations", str(end), "--workers", str(options.workers)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            for outcome in lines(child):
                report.add(number, outcome)
                number += options.workers
        if number < end:
            report.add(number, "time" if child.returncode == -9 else f"crash {child.returncode}")
            number += options.workers


def lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """What `child` prints; it is killed when it is silent for too long."""
    assert child.stdout is not None
    heard = [time.monotonic() + 60]  # it has to import its libraries first

    def guard() -> None:
        while child.poll() is None:
            if time.monotonic() > heard[0]:
                child.kill()
            time.sleep(0.5)

    threading.Thread(target=guard, daemon=True).start()
    for line in child.stdout:
        heard[0] = time.monotonic() + SECONDS
        yield line.strip()


def work(folder: Path, first: int, end: int, stride: int) -> None:
    """In the child: damage and try one bundle after the other."""
    from edgernn.engines import ENGINES

    sources = sorted((folder / "bundles").iterdir())
    for source in sources:
        attempt(source, ENGINES)  # whatever is loaded lazily
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    copy = folder / f"copy{first % stride}"
    out, sys.stdout = sys.stdout, sys.stderr
    for number in range(first, end, stride):
        random = Random(number)
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(random.choice(sources), copy)
        victim = damage(copy, random, sealed=number // stride % 2 == 0)
        print(attempt(copy, ENGINES, replay=not victim.startswith("step.")), file=out, flush=True)


def attempt(path: Path, engines: dict, *, replay: bool = True) -> str:
    """Use the bundle at `path` as a device would. replay: its golden vectors too, which takes longest."""
    from edgernn.bundle import Bundle
    from edgernn.errors import EdgeRNNError
    from edgernn.runtime import Model, Sampler
    from edgernn.runtime.golden import verify

    try:
        bundle = Bundle.load(path)
        engine = engines.get(bundle.manifest.target, engines["onnx"])
        model = Model.load(path, engine)
        model.begin(batch=2)
        stream = model.stream(Sampler(temperature=0.8, seed=0))
        stream.prefill("abc")
        list(stream.decode(5))
        stream.restore(stream.snapshot())
        if replay:
            verify(bundle, engine)
    except EdgeRNNError as error:
        return f"refused {type(error).__name__}" if len(str(error)) < 2000 else "verbose"
    except MemoryError:
        return "memory"
    except Exception as error:  # noqa: BLE001 - which is what is looked for
        return f"exception {type(error).__name__}: {str(error)[:200]!r}"
    return "works"


if __name__ == "__main__":
    sys.exit(main())
