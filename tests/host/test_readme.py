"""What the README says is run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from edgernn.cli import execute
from edgernn.runtime import Model

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def test_the_commands_on_your_own_text_work_as_written(tmp_path, monkeypatch, corpus, capsys):
    (commands,) = [block for block in blocks("") if "train language" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shakespeare.txt").write_text(corpus.read_text().replace("the ", "ROMEO: "))
    small = ["--hidden", "8", "--layers", "1", "--chunk", "16", "--steps", "5"]
    lines = commands.splitlines()
    assert [line.split()[1] for line in lines] == ["train", "export", "verify", "run"]
    for line in lines:
        arguments = shlex.split(line)[1:]
        assert execute(arguments + (small if arguments[0] == "train" else [])) == 0, capsys.readouterr().err


def test_the_python_works_as_written(trained, tmp_path, monkeypatch, capsys):
    from edgernn.exporters import export
    from edgernn.training import Run

    export(Run.load(trained).source(), tmp_path / "bundles" / "demo", steps=8)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    names = {}
    exec(compile(code.replace('"def "', '"the "'), "README.md", "exec"), names)
    assert len(capsys.readouterr().out) == 200
    assert "".join(names["stream"].decode(20)) == "".join(names["twin"].decode(20))


def test_the_python_of_the_runtime_page_works_as_written(trained, tmp_path, monkeypatch, capsys):
    from edgernn.exporters import export
    from edgernn.training import Run

    export(Run.load(trained).source(), tmp_path / "bundles" / "demo", steps=8)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "runtime.md").read_text("utf-8").replace('"def "', '"the "')
    names = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S):
        exec(compile(code, "runtime.md", "exec"), names)
    assert names["stream"].ended in ("length", "stop")
    assert [len(slot.text) for slot in names["slots"]] == [50] * 64
    assert "length" in capsys.readouterr().out


def test_the_module_of_the_export_page_is_exported_as_written(tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "export.md").read_text("utf-8"), flags=re.M | re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "export.md", "exec"), {})
    stream = Model.load("bundles/denoiser").stream()
    assert stream.step({"frame": np.ones((1, 6), np.float32)})["clean"].shape == (1, 6)


DOCS = ("training", "gradients", "export", "runtime")
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in DOCS)]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link
