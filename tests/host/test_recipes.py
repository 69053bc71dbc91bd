"""The recipes of this repository, and the script that builds them."""

import importlib.util
import json
from pathlib import Path

import pytest

from edgernn.bundle import Bundle
from edgernn.errors import ConfigError
from edgernn.exporters import TARGETS
from edgernn.tasks import TASKS

ROOT = Path(__file__).parents[2]
BUILT = (("onnx", "int8"), ("torchscript", "fp32"))


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "export" / "build.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["build"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recipe(corpus, tmp_path):
    def write(name, built=BUILT, **changes):
        values = {"task": "language", "sources": [str(corpus)], **changes}
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines += ["[settings]", "hidden = 8", "layers = 1", "bptt = 16", "steps = 4", "evaluations = 2"]
        lines += [f'[[bundles]]\ntarget = "{target}"\nprecision = "{precision}"' for target, precision in built]
        path = tmp_path / f"{name}.toml"
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.mark.parametrize("path", sorted((ROOT / "export" / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_is_possible(build, path):
    shipped = build.Recipe.read(path)
    TASKS[shipped.task].choose(shipped.sources, shipped.preset, **shipped.settings)
    for bundle in shipped.bundles:
        assert bundle["precision"] in TARGETS[bundle["target"]].precisions


def test_a_recipe_becomes_verified_bundles(build, recipe, tmp_path, capsys):
    assert build.main([str(recipe("fox")), "--out", str(tmp_path / "out")]) == 0
    table = capsys.readouterr().out
    for target, precision in BUILT:
        path = tmp_path / "out" / "bundles" / f"fox-{target}-{precision}"
        manifest = Bundle.load(path).manifest
        assert (manifest.target, manifest.precision) == (target, precision)
        (line,) = (line.split() for line in table.splitlines() if path.name in line)
        assert line[:3] == [path.name, "verified", f"{(path / manifest.graphs['step']).stat().st_size:,}"]


def test_one_recipe_that_fails_does_not_hide_the_others(build, recipe, tmp_path, capsys):
    bad, good = recipe("bad", sources=[str(tmp_path / "none.txt")]), recipe("good")
    assert build.main([str(bad), str(good), "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "bad: " in captured.err
    assert "none.txt: cannot be read" in captured.err
    assert ["bad", "FAILED"] in [line.split() for line in captured.out.splitlines()]
    assert (tmp_path / "out" / "bundles" / "good-onnx-int8").exists()


def test_one_bundle_that_fails_does_not_hide_the_others(build, recipe, tmp_path, capsys):
    path = recipe("fox", built=(("onnx", "int3"), ("onnx", "fp32")))
    assert build.main([str(path), "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert (
        "fox-onnx-int3: the precision int3 (--precision) is not one that onnx has: fp32, fp16, int8, int4"
        in captured.err
    )
    lines = [line.split()[:2] for line in captured.out.splitlines()]
    assert ["fox-onnx-int3", "FAILED"] in lines
    assert ["fox-onnx-fp32", "verified"] in lines


def test_an_impossible_recipe_is_named(build, recipe, tmp_path):
    for changes, words in (
        ({"task": "dance"}, "'dance' is not one"),
        ({"speed": 3}, "missing or unknown keys: speed"),
    ):
        with pytest.raises(ConfigError, match=words):
            build.Recipe.read(recipe("x", **changes))
    (tmp_path / "y.toml").write_text("task = ")
    with pytest.raises(ConfigError, match=r"y\.toml: "):
        build.Recipe.read(tmp_path / "y.toml")
    with pytest.raises(ConfigError, match="No such file"):
        build.Recipe.read(tmp_path / "z.toml")
