"""What a path leads to, and what is said of one that leads to something else than was wanted."""

import json

import pytest
from tiny import TinyLanguage

from edgernn.paths import Kind, identify, refusal


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.onnx", b"", Kind.EMPTY_FILE),
        ("a.onnx", b"\x08\x0a\x12\x07pytorch", Kind.ONNX),
        ("a.onnx", b"\x08\x0a\x12\x07pyto{ch", Kind.ONNX),
        ("a.bin", b"\x18\0\0\0ORTM\0\0", Kind.ORT),
        ("a.onnx", b"\x18\0\0\0ORTM\0\0", Kind.ORT),
        ("a.bin", b"\x18\0\0\0ET12\0\0", Kind.EXECUTORCH),
        ("a.ptl", b"PK\3\4 and more", Kind.TORCHSCRIPT),
        ("a.zip", b"PK\3\4 and more", Kind.FILE),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0{}", Kind.SAFETENSORS),
        ("a.txt", b"\x02\0\0\0\0\0\0\0{}", Kind.FILE),
    ],
)
def test_files_are_known_by_their_first_bytes(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    assert identify(tmp_path / name).kind is kind


def test_directories_are_known_by_their_manifests(tmp_path):
    bundle = TinyLanguage.random().write(tmp_path / "bundle", provenance={"run": "young"})
    run = tmp_path / "run"
    run.mkdir()
    assert identify(run).kind is Kind.EMPTY_DIRECTORY
    (run / "config.json").write_text('{"name": "of another program"}')
    assert identify(run).kind is Kind.DIRECTORY
    (run / "config.json").write_text(json.dumps({"task": "language", "settings": {}}))
    assert identify(run).kind is Kind.RUN
    assert (identify(bundle).kind, identify(bundle).noun) == (Kind.BUNDLE, "a bundle, made from the run young")
    (bundle / "bundle.json").write_bytes(b"damaged")
    assert (identify(bundle).kind, identify(bundle).noun) == (Kind.BUNDLE, "a bundle")
    assert identify(tmp_path / "none").kind is Kind.NOTHING


def test_a_refusal_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = tmp_path.relative_to(tmp_path)
    TinyLanguage.random().write(here / "two words" / "bundle")
    run = here / "my run"
    run.mkdir()
    (run / "config.json").write_text('{"task": "language"}')
    (here / "link").symlink_to("gone")
    assert refusal(run, Kind.BUNDLE) == (
        "my run is a run, and not a bundle: export it with edgernn export 'my run' --out BUNDLE"
    )
    assert refusal(here / "two words", Kind.BUNDLE) == (
        "two words is not a bundle: it has no bundle.json; it holds bundle: name one of them"
    )
    assert (
        refusal(here / "two words" / "bundle", Kind.RUN) == "two words/bundle is a bundle, and not a run: name the run"
    )
    assert refusal(run / "config.json", Kind.RUN) == (
        "my run/config.json is not a run: name the run that it belongs to, my run"
    )
    assert refusal(here / "link", Kind.RUN) == "link is a symbolic link to gone, which does not exist"
    assert refusal(here / "none", Kind.RUN, Kind.BUNDLE) == "there is no none"
