"""Damaged bundles of every target, in child processes; `python tests/fuzz.py` does it for longer."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz.py"


@pytest.mark.slow
def test_damaged_bundles_hurt_nobody():
    command = [sys.executable, str(FUZZ), "--mutations", "300"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    counts = dict(reversed(part.split()) for part in done.stdout.splitlines()[0].split(", "))
    assert done.returncode == 0, done.stdout
    assert counts.keys() == {"refused", "works"}
    assert int(counts["refused"]) > 100
    assert int(counts["refused"]) + int(counts["works"]) == 300
