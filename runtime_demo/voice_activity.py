"""How do I stream a voice activity detector that another project trained, over a sound file in real time?

    edgernn adopt silero_vad.onnx --constant sr=16000 --carry input:64 --out bundles/silero
    python runtime_demo/voice_activity.py bundles/silero speech.wav

The sound file is a WAV file at 16 kHz, with one channel of 16 bits. Needs edgernn without extras, and no torch.
"""

import argparse
import os
import sys
import time
import wave

import numpy as np

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model

RATE, SAMPLES, WIDTH = 16_000, 512, 40


def main() -> None:
    parser = argparse.ArgumentParser(description="Show where there is speech in a sound file.")
    parser.add_argument("bundle", help="the adopted bundle")
    parser.add_argument("wav", help="the WAV file")
    parser.add_argument("--fast", action="store_true", help="run as fast as possible instead of in real time")
    options = parser.parse_args()

    sound = read(options.wav)
    stream = Model.load(options.bundle).stream()
    probabilities = []
    begun = time.perf_counter()
    for start in range(0, len(sound) - SAMPLES + 1, SAMPLES):
        chunk = sound[None, start : start + SAMPLES]
        probabilities.append(float(stream.step({"input": chunk})["output"][0, 0]))
        if not options.fast:
            time.sleep(max(0.0, (start + SAMPLES) / RATE - (time.perf_counter() - begun)))
        meter(start / RATE, float(np.sqrt(np.mean(chunk**2))), probabilities[-1])
    print(f"\n{len(sound) / RATE:.1f} s of sound, mean probability {np.mean(probabilities):.5f}")


def read(path: str) -> np.ndarray:
    try:
        with wave.open(path) as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
                sys.exit(f"{path} is not 16 kHz, mono, 16 bits: convert it first")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    except (wave.Error, EOFError):
        sys.exit(f"{path} is not a WAV file: convert it to one of 16 kHz, mono, 16 bits")
    except OSError as error:
        sys.exit(f"{path} cannot be read: {error.strerror}")


def meter(seconds: float, level: float, probability: float) -> None:
    if not sys.stdout.isatty():
        return
    loudness = round(WIDTH * min(1.0, max(0.0, 1 + np.log10(level + 1e-9) / 3)))  # the scale covers 60 dB
    speaks = "speech" if probability > 0.5 else "      "
    print(f"\r{seconds:7.2f} s |{'#' * loudness:{WIDTH}}| {probability:4.0%} {speaks}", end="", flush=True)


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
