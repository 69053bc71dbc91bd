"""The example program in C streams what Python streams, from the same bundle and from one of ONNX."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compilers import COMPILERS, STRICT
from conversions import convert_once
from pages import blocks

from edgernn.exporters import export
from edgernn.runtime import Model
from edgernn.runtime.compiled import CompiledEngine
from edgernn.training import Run

PROGRAM = Path(__file__).parents[2] / "runtime_demo" / "c"
SETTINGS = ("--temperature", "0.8", "--top-k", "40", "--max-tokens", "200")

pytestmark = pytest.mark.skipif(not COMPILERS or not shutil.which("make"), reason="a C compiler and make are needed")


@pytest.fixture(scope="module")
def bundles(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    source = Run.load(trained).source()
    with convert_once():
        for target in ("onnx", "c"):
            export(source, folder / target, target=target, precision="int8", steps=32)
    return folder


@pytest.fixture(scope="module", params=COMPILERS)
def program(request, bundles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(PROGRAM, folder, dirs_exist_ok=True)
    flags = f"CFLAGS={' '.join(STRICT)} -O1"
    subprocess.run(["make", "-C", folder, f"CC={request.param}", flags, f"BUNDLE={bundles / 'c'}"], check=True)
    return folder / "stream_text"


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_the_text_is_pythons(program, bundles, call, seed):
    given = [program, "the ", str(seed), "0.8", "40", "200"]
    printed = subprocess.run(given, capture_output=True, text=True, check=True).stdout
    assert len(printed) == len("the ") + 200 + len("\n")
    for target, engine in (("c", ("--engine", "c")), ("onnx", ())):
        status, text, error = call("run", bundles / target, "the ", "--seed", seed, *SETTINGS, *engine)
        assert (status, text, error) == (0, printed, "")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_program_of_the_page_decodes_greedily(bundles, tmp_path, compiler):
    (tmp_path / "main.c").write_text(next(block.text for block in blocks("docs/c.md") if block.language == "c"))
    given = [tmp_path / "main.c", bundles / "c" / "model.c", "-I", bundles / "c", "-o", tmp_path / "main"]
    subprocess.run([compiler, *STRICT, "-O1", *given], check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    stream = Model.load(bundles / "c", CompiledEngine).stream()
    assert [int(token) for token in printed.split()] == greedy(stream, 1, 20)


def greedy(stream, token, count):
    """The likeliest token after each, beginning with one."""
    tokens = [token]
    for _ in range(count):
        tokens.append(int(np.argmax(stream.step({"token": np.array([tokens[-1]])})["logits"][0])))
    return tokens[1:]


@pytest.mark.parametrize("arguments", [["THE"], ["e" * 5000], [""], ["the", "0", "-1"]])
def test_bad_arguments_are_refused(program, arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip()
