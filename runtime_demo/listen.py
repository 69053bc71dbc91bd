"""How do I recognise sounds in real time, as a microphone records them?

    python runtime_demo/listen.py bundles/digits              # listens to the microphone until Ctrl-C
    python runtime_demo/listen.py bundles/digits seven.wav    # plays a file at its own speed

What is heard between two pauses is one sequence: after each pause, a new stream begins. The microphone needs the
package sounddevice, and a file of another rate than the bundle's needs edgernn's extra `audio`. Neither needs torch.
"""

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model, Stream
from edgernn.runtime.pipelines.class_scores import label_output, probabilities
from edgernn.runtime.pipelines.sequence_input import SequenceInput

WIDTH = 30  # of the level meter, which covers 60 dB
LEAD_IN = 0.1  # seconds of sound before it becomes loud that belong to it


def main() -> None:
    parser = argparse.ArgumentParser(description="Label sounds as they are heard.")
    parser.add_argument("bundle", help="the bundle of a classifier of sound")
    parser.add_argument("wav", nargs="?", help="a WAV file to play; without it, the microphone is heard")
    parser.add_argument("--level", type=float, default=0.01, help="the level of silence, from 0 to 1")
    parser.add_argument("--pause", type=float, default=0.3, help="the seconds of silence after which a sound has ended")
    parser.add_argument("--fast", action="store_true", help="play the file as fast as possible")
    options = parser.parse_args()

    listener = Listener(Model.load(options.bundle), options.level, options.pause)
    source = listener.source
    steps: Iterable[np.ndarray] = source.listen() if options.wav is None else source.read(options.wav)
    if options.wav is not None and not options.fast:
        steps = in_real_time(steps, listener.rate)
    try:
        for step in steps:
            listener.hear(step)
    except KeyboardInterrupt:
        pass
    listener.end()


def in_real_time(steps: Iterable[np.ndarray], rate: float) -> Iterator[np.ndarray]:
    """Yield each step when its sound would have been recorded."""
    begun = time.perf_counter()
    for number, step in enumerate(steps, 1):
        time.sleep(max(0.0, number / rate - (time.perf_counter() - begun)))
        yield step


class Listener:
    """Labels what is louder than `level` until it has been quiet for `pause` seconds, and shows it on the terminal."""

    def __init__(self, model: Model, level: float, pause: float) -> None:
        self.output, self.source = label_output(model).name, SequenceInput(model)
        self.model, self.labels = model, model.labels or ()
        if self.source.rate is None:
            sys.exit(f"the bundle reads {self.source.what}, and not sound")
        self.rate, self.level, self.pause = self.source.rate, level, pause
        self.before: deque[np.ndarray] = deque(maxlen=round(LEAD_IN * self.rate))  # steps before the sound
        self.stream: Stream | None = None
        self.guess = self.answer = ""
        self.time = self.begun = self.loud = 0  # in steps: now, when the sound began, and when it was loud last

    def hear(self, step: np.ndarray) -> None:
        """Take one step of sound (samples,)."""
        self.time += 1
        level = float(np.sqrt(np.mean((step / 32768.0) ** 2)))
        if level > self.level:
            self.loud = self.time
            if self.stream is None:
                self.begin()
        if self.stream is None:
            self.before.append(step)
        else:
            self.read(self.stream, step)
            if self.time == self.loud:
                self.answer = self.guess  # the pause is not a part of the sound
            if self.time - self.loud >= self.pause * self.rate:
                self.end()
        self.meter(level)

    def begin(self) -> None:
        """Begin a stream with what was heard just before."""
        self.stream, self.begun = self.model.stream(), self.time - len(self.before) - 1
        for step in self.before:
            self.read(self.stream, step)
        self.before.clear()

    def read(self, stream: Stream, step: np.ndarray) -> None:
        """Step the stream, and guess."""
        shares = probabilities(stream.step({self.source.name: step[None]})[self.output][0])
        self.guess = f"{self.labels[shares.argmax()]} ({shares.max():.0%})"

    def end(self) -> None:
        """Print the label of the sound, if there is one."""
        if self.stream is not None:
            clear = "\r\x1b[2K" if sys.stdout.isatty() else ""
            print(f"{clear}{self.begun / self.rate:7.2f} to {self.loud / self.rate:.2f} s  {self.answer}", flush=True)
        self.stream, self.guess = None, ""

    def meter(self, level: float) -> None:
        """Show the level and the running guess."""
        if sys.stdout.isatty():
            loudness = round(WIDTH * min(1.0, max(0.0, 1 + np.log10(level + 1e-9) / 3)))
            bar = f"{'#' * loudness:{WIDTH}}"
            print(f"\r\x1b[2K{self.time / self.rate:7.2f} s |{bar}| {self.guess}", end="", flush=True)


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
