"""The runtime in Python on a board with 64-bit ARM Linux: Debian's Python and the published wheels, in an emulator.

The emulator runs the instructions of the processor of a Raspberry Pi 4.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cross

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "build" / "board"
CONFORMANCE = ["tests/device/test_contract_document.py", "tests/device/test_shipped_bundle.py"]


@pytest.fixture(scope="module")
def python():
    """A function that runs Python on the board, and returns what it prints. The packages are downloaded once."""
    lacking = pytest.fail if os.environ.get("CI") else pytest.skip
    missing = [tool for tool in ("apt-get", "dpkg-deb", "qemu-aarch64") if not shutil.which(tool)]
    if missing:
        lacking(f"not installed: {', '.join(missing)}")
    done = subprocess.run([ROOT / ".ci" / "board", BOARD, sys.executable], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        lacking(f"the packages of the board cannot be had: {done.stderr[-300:]}")
    emulator = ["qemu-aarch64", "-cpu", "cortex-a72", "-L", BOARD / "root", BOARD / "root" / "usr" / "bin" / "python3"]
    given = {"PYTHONPATH": str(BOARD / "site"), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}

    def run(*arguments):
        command = [*emulator, *map(str, arguments)]
        result = subprocess.run(command, cwd=ROOT, env=os.environ | given, capture_output=True, timeout=300)
        assert result.returncode == 0, (result.stdout + result.stderr).decode()
        return result.stdout.decode()

    return run


def test_it_is_a_board(python):
    code = "import platform, numpy, onnxruntime; print(platform.machine(), numpy.__version__, onnxruntime.__version__)"
    machine, *versions = python("-c", code).split()
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert machine == "aarch64"
    assert {f"numpy=={versions[0]}", f"onnxruntime=={versions[1]}"} <= set(pinned)


def test_the_conformance_vectors_hold(python):
    """The tests of the device side, which import nothing that a device lacks but pytest."""
    printed = python("-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", *CONFORMANCE)
    assert re.search(r"^(4\d|[5-9]\d) passed in", printed, re.MULTILINE)


def test_the_command_line_streams_the_text_of_this_machine(python, call):
    given = ["run", ROOT / "export" / "golden" / "characters-int8", "ab", "--seed", "7", "--max-tokens", "100"]
    status, here, _ = call(*given)
    assert status == 0
    assert python("-m", "edgernn", *given) == here
