"""Settings for all tests."""

import gc
import os
import signal
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from edgernn.cli import execute

settings.register_profile(
    "edgernn", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("edgernn")


def pytest_collection_finish():
    """Let the garbage collector leave out what was imported, and run rarely: it took a sixth of an export's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture
def call(capsys):
    """Run a command line: exit status, standard output and standard error."""

    def run(*arguments):
        capsys.readouterr()
        status = execute([*map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, which EDGERNN_DATA names."""
    folder = os.environ.get("EDGERNN_DATA")
    if not folder:
        pytest.skip("EDGERNN_DATA is not set, so there are no real data to test with")
    return Path(folder)


@pytest.fixture
def microphone(monkeypatch):
    """Let a microphone record given samples, in blocks of a given size, and then be interrupted by Ctrl-C.

    It stands in for the package sounddevice, at 8000 samples per second.
    """

    def record(samples, size=800):
        module = types.ModuleType("sounddevice")

        class InputStream:
            def __init__(self, **options):
                assert options["samplerate"] == 8000
                self.at = 0

            def __enter__(self):
                return self

            def __exit__(self, *error):
                module.closed = True

            def read(self, count):
                taken = samples[self.at : self.at + size]
                self.at += size
                if not len(taken):
                    signal.raise_signal(signal.SIGINT)  # as Ctrl-C does; silence follows
                    taken = np.zeros(count, np.int16)
                return taken[:, None], False

        module.InputStream, module.PortAudioError, module.closed = InputStream, OSError, False
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return record
