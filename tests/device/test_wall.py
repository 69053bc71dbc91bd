"""The wall: each device module and demo runs in a process where torch, onnx and the host side cannot be imported.

The import linter reads the code and misses what is imported by name at run time; this test runs it.
"""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgernn

DEVICE_MODULES = [
    "arrays",
    "atomic",
    "bundle",
    "contract",
    "errors",
    "records",
    "sampling",
    "score",
    "textfile",
    "tokenizer",
]
PACKAGES = ["runtime"]
HOST_PACKAGES = ["cli", "engines", "exporters", "models", "training"]
DEMOS = sorted((Path(__file__).parents[2] / "runtime_demo").glob("*.py"))

BLOCK = """
import sys
class Wall:
    blocked = ("torch", "onnx", "onnxscript", "safetensors", "edgernn.cli", "edgernn.models",
               "edgernn.training", "edgernn.engines", "edgernn.exporters")
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in self.blocked):
            raise ImportError("behind the wall: " + name)
sys.meta_path.insert(0, Wall())
"""


def run_behind_the_wall(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def device_modules():
    root = Path(edgernn.__file__).parent
    inside = [f"{package}.{m.name}" for package in PACKAGES for m in pkgutil.iter_modules([str(root / package)])]
    return [f"edgernn.{name}" for name in (*DEVICE_MODULES, *PACKAGES, *inside)]


def test_every_module_is_on_one_side_of_the_wall():
    found = {m.name for m in pkgutil.iter_modules(edgernn.__path__)}
    assert found - {"__main__"} == {*DEVICE_MODULES, *PACKAGES, *HOST_PACKAGES}


@pytest.mark.parametrize("module", device_modules())
def test_a_device_module_imports_alone(module):
    done = run_behind_the_wall(f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_whole_runtime_works_alone(bundle):
    code = """
from edgernn.runtime import Model, Sampler
stream = Model.load(sys.argv[1]).stream(Sampler(seed=0))
stream.prefill("abc")
print(len("".join(stream.decode(20))))
stream.restore(stream.snapshot())
assert not {"torch", "onnx"} & set(sys.modules)
"""
    done = run_behind_the_wall(code, str(bundle))
    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr


def test_the_wall_of_this_test_holds():
    assert "behind the wall: torch" in run_behind_the_wall("import importlib; importlib.import_module('torch')").stderr


@pytest.mark.parametrize("demo", DEMOS, ids=lambda path: path.stem)
def test_a_demo_runs_alone(demo, bundle):
    arguments = {"stream_text": [str(bundle), "abc", "--tokens", "20", "--seed", "0"]}[demo.stem]
    done = run_behind_the_wall(f"import runpy; runpy.run_path({str(demo)!r}, run_name='__main__')", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("abc")
    assert len(done.stdout) == len("abc") + 20 + 1


def test_help_and_run_need_no_torch(bundle):
    block = BLOCK.replace('"edgernn.cli", ', "").replace('"onnxscript"', '"onnxscript", "onnxruntime"')
    code = "from edgernn.cli import main; main()"
    for arguments in (["--help"], ["train", "language", "--help"], ["run", "--help"]):
        command = [sys.executable, "-c", block + code, *arguments]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    block = BLOCK.replace('"edgernn.cli", ', "")
    command = [sys.executable, "-c", block + code, "run", str(bundle), "--prompt", "abc", "--max-tokens", "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stdout)) == (0, 10), done.stderr


@pytest.mark.parametrize("arguments", [["train", "language", "stdlib", "--out", "r"], ["inspect", "b"]])
def test_a_missing_extra_is_the_line_to_type(tmp_path, arguments):
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from edgernn.cli import main
main()
"""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "is not installed; type: pip install 'edgernn[" in done.stderr
    assert done.stderr.count("\n") == 1
