"""A page for the browser: the folder that is written, what of it is refused, and the server that shows it.

What the page does in a browser is tested in runtime_demo/web/test.
"""

import gzip
import hashlib
import io
import json
import re
import struct
import threading
import urllib.error
import urllib.request
from pathlib import PurePosixPath

import numpy as np
import pytest
from hostile import seal
from PIL import Image
from tiny import (
    TinyLanguage,
    write_captioner,
    write_drawer,
    write_glimpser,
    write_painter,
    write_pen,
    write_sound_classifier,
    write_text_classifier,
    write_translator,
)

from edgernn.errors import BundleError, ConfigError, CorpusError, OutputExistsError, TokenizerError
from edgernn.page import Opening, Server, build_site, site
from edgernn.page.icons import icon

NAMED_BY_HASH = re.compile(r"(assets/)?[\w.-]+-([0-9a-f]{12})\.\w+")


@pytest.fixture(autouse=True)
def code(tmp_path, monkeypatch):
    """Code in the place of the page's own, which takes Node.js to build."""
    folder = tmp_path / "code"
    folder.mkdir()
    for name in ("main.js", "page.css", "sw.js", "worker.js", "worklet.js", "onnx.js", "onnx.wasm"):
        (folder / name).write_text(f"/* {name} */" * 40)
    index = "$title|$page|$main|$icon|$manifest|<script type='application/json'>$site</script>"
    (folder / "index.html").write_text(index)
    monkeypatch.setattr(site, "CODE", folder)
    return folder


@pytest.fixture
def bundle(tmp_path):
    return TinyLanguage.random().write(tmp_path / "tiny", target="wasm")


def described(built):
    """What the page is told about its site."""
    return json.loads(built.files["index.html"].decode().split("application/json'>")[1].split("</script>")[0])


def test_every_file_is_named_by_its_content_and_by_who_needs_it(bundle):
    built = build_site([bundle], title="A & B")
    hashed = {name: NAMED_BY_HASH.fullmatch(name) for name in built.files}
    assert {name for name, found in hashed.items() if not found} == {"index.html", "sw.js"}
    for name, found in hashed.items():
        assert not found or hashlib.sha256(built.files[name]).hexdigest().startswith(found[2])
    title, *named = built.files["index.html"].decode().split("|")[:5]
    assert title == "A &amp; B"
    (shown,) = described(built)["bundles"]
    assert shown["files"].keys() == {"bundle.json", "step.onnx", "tokenizer.json"}
    manifest = json.loads(built.files[named[3]])
    icons = [each["src"] for each in manifest["icons"]]
    needed = {*named, described(built)["worker"], *shown["files"].values(), *icons}
    assert needed == built.files.keys() - {"index.html", "sw.js"}
    kept = json.loads(built.files["sw.js"].decode().split(" = ")[1].split(";\n")[0])
    assert set(kept["files"]) == {"./", *needed}
    assert built.files[shown["files"]["bundle.json"]] == (bundle / "bundle.json").read_bytes()


def for_wasm(bundle):
    """The bundle, which says that it is for the target wasm."""
    manifest = bundle / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"target": "onnx"', '"target": "wasm"'))
    return bundle


def test_every_bundle_has_the_view_of_what_it_does(bundle, tmp_path):
    others = {"photo": write_captioner, "draw": write_drawer, "look": write_glimpser}
    others |= {"strokes": write_pen, "paint": write_painter, "listen": write_sound_classifier}
    built = build_site([bundle, *(for_wasm(write(tmp_path / view)) for view, write in others.items())])
    assert [each["view"] for each in described(built)["bundles"]] == ["text", *others]
    assert [each["example"] for each in described(built)["bundles"]] == [None] * 7
    assert [each["prompt"] for each in described(built)["bundles"]] == ["a", *[""] * 6]
    assert "strokes.json" in described(built)["bundles"][4]["files"]
    for number, write in enumerate((write_text_classifier, write_translator)):
        with pytest.raises(BundleError, match="the page shows models that continue a text, describe pictures, draw"):
            build_site([for_wasm(write(tmp_path / str(number)))])


def test_a_site_has_the_code_of_the_microphone_and_of_onnxruntime_only_if_a_bundle_needs_it(bundle, tmp_path, code):
    (code / "onnx.wasm").write_bytes(np.random.default_rng(0).bytes(100_000))
    onnx = TinyLanguage.random().write(tmp_path / "onnx")
    plain, both = build_site([bundle]), build_site([bundle, onnx])
    assert (described(plain)["microphone"], described(plain)["onnx"]) == (None, None)
    assert not any(name.startswith(("assets/onnx-", "assets/worklet-")) for name in plain.files)
    named = described(both)["onnx"]
    assert {use: both.files[name] for use, name in named.items()} == {
        "code": (code / "onnx.js").read_bytes(),
        "module": (code / "onnx.wasm").read_bytes(),
    }
    assert [each["target"] for each in described(both)["bundles"]] == ["wasm", "onnx"]
    assert both.first_visit_bytes - plain.first_visit_bytes > 100_000
    kept = json.loads(both.files["sw.js"].decode().split(" = ")[1].split(";\n")[0])
    assert set(named.values()) < set(kept["files"])
    sounds = build_site([for_wasm(write_sound_classifier(tmp_path / "sounds"))])
    assert sounds.files[described(sounds)["microphone"]] == (code / "worklet.js").read_bytes()
    assert described(sounds)["onnx"] is None
    (code / "onnx.wasm").unlink()
    build_site([bundle])
    with pytest.raises(ConfigError, match="the code of the page is not built: run make web"):
        build_site([onnx])


@pytest.mark.parametrize(("written", "changed"), [('"task": "classify"', '"task": "other"'), ("int16", "float32")])
def test_what_reads_sound_in_another_way_is_not_shown(written, changed, tmp_path):
    bundle = for_wasm(write_sound_classifier(tmp_path / "sounds"))
    manifest = bundle / "bundle.json"
    assert written in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(written, changed))
    with pytest.raises(BundleError, match="or label sound"):
        build_site([bundle])


def test_a_view_of_pictures_begins_with_the_first_of_the_golden_vectors(tmp_path):
    bundle = for_wasm(write_glimpser(tmp_path / "look"))
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    (bundle / "golden" / "step").mkdir(parents=True)
    golden = bundle / "golden/step/conditions.image.npy"
    np.save(golden, image)
    seal(bundle, golden)
    built = build_site([bundle])
    (shown,) = described(built)["bundles"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(built.files[shown["example"]]))), image[0])
    assert not any("golden" in name for name in built.files)


def test_the_page_is_told_what_python_would_do(bundle):
    values = described(build_site([bundle], opening=Opening("abc ", 2**63)))
    assert (values["caption"], values["drawing"]) == ({"beam": 1, "max_tokens": 20}, {"temperature": 1.0})
    assert values["strokes"] == {"temperature": 1.0}
    assert values["sampler"] == {
        **{"temperature": 0.8, "top_k": 40, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "max_tokens": 400}
    }
    assert (values["bundles"][0]["prompt"], values["bundles"][0]["seed"]) == ("abc ", str(2**63))
    assert described(build_site([bundle]))["bundles"][0]["prompt"] == "a"  # its vocabulary has no T


def test_the_same_bundle_makes_the_same_site(bundle):
    one, other = build_site([bundle]), build_site([bundle])
    assert one.files == other.files
    changed = build_site([bundle], opening=Opening("b"))
    assert changed.files["sw.js"] != one.files["sw.js"]  # so that browsers notice the new page


def test_what_is_written(bundle, tmp_path):
    built = build_site([bundle])
    built.write(tmp_path / "site")
    written = {p.relative_to(tmp_path / "site").as_posix(): p for p in (tmp_path / "site").rglob("*") if p.is_file()}
    record = json.loads(written.pop("site.json").read_text())
    assert record["files"] == {name: len(data) for name, data in built.files.items()}
    packed = {name: path for name, path in written.items() if name.endswith(".gz")}
    assert {name: path.read_bytes() for name, path in written.items() if name not in packed} == built.files
    for name, path in packed.items():
        assert gzip.decompress(path.read_bytes()) == built.files[name.removesuffix(".gz")]
    sizes = [(written.get(f"{name}.gz") or path).stat().st_size for name, path in written.items() if name not in packed]
    assert built.first_visit_bytes == record["first_visit"] == sum(sizes)


def test_a_title_is_text_and_nothing_else(bundle):
    title = """x"'&</script><script>$title ${z}"""
    built = build_site([bundle], title=title)
    page = built.files["index.html"].decode()
    assert "<script>$title" not in page
    assert described(built)["title"] == title
    for wrong, words in (("a\udcff", "is not UTF-8: byte 1 is 0xff"), ("\ud800", "half of a character")):
        with pytest.raises(CorpusError, match=rf"the title of the page \(--title\) .*{words}"):
            build_site([bundle], title=wrong)


def test_a_site_replaces_a_site_and_nothing_else(bundle, tmp_path):
    out = tmp_path / "site"
    build_site([bundle]).write(out)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        build_site([bundle]).write(out)
    build_site([bundle], title="Other").write(out, overwrite=True)
    assert json.loads((out / "site.json").read_text())["title"] == "Other"
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"files that edgernn did not write there: notes\.txt"):
        build_site([bundle]).write(out, overwrite=True)
    (out / "notes.txt").unlink()
    (out / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(OutputExistsError, match=r"files that edgernn did not write there: elsewhere"):
        build_site([bundle]).write(out, overwrite=True)
    with pytest.raises(OutputExistsError, match="is a bundle, which a site does not replace"):
        build_site([bundle]).write(bundle, overwrite=True)


@pytest.mark.parametrize("listed", ["5", "[[1]]", "null", '["notes.txt"]'])
def test_a_site_whose_record_is_damaged_is_not_replaced(bundle, tmp_path, listed):
    out = tmp_path / "site"
    out.mkdir()
    (out / "site.json").write_text(f'{{"first_visit": 1, "files": {listed}}}')
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"did not write there: .*notes\.txt"):
        build_site([bundle]).write(out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_what_cannot_be_on_a_page_is_one_line_and_writes_nothing(bundle, tmp_path, call, code):
    ort = TinyLanguage.random().write(tmp_path / "ort", target="ort")
    changed = TinyLanguage.random().write(tmp_path / "changed", target="wasm")
    (changed / "step.onnx").write_bytes((changed / "step.onnx").read_bytes()[:-1] + b"!")
    names = for_wasm(write_text_classifier(tmp_path / "names"))
    (tmp_path / "twin").mkdir()
    twin = TinyLanguage.random(1).write(tmp_path / "twin" / "tiny", target="wasm")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"task": "language"}')
    for named, words in (
        ([run], f"run is a run: export it with edgernn export {run} --to wasm --out BUNDLE"),
        ([ort], "ort is for ort, and a page runs wasm and onnx: export its run again with edgernn export RUN --to"),
        ([changed], "step.onnx was changed: its SHA-256 is not the one in bundle.json"),
        ([names], "names is a bundle of the task classify, and the page shows models that continue a text"),
        ([bundle, twin], "two bundles are called tiny"),
        ([tmp_path / "none"], f"there is no {tmp_path / 'none'}"),
        ([bundle, "--opening", "xyz"], "the vocabulary has no 'x' (U+0078)"),
        ([bundle, "--opening", ""], "the prompt (--opening) is empty"),
        ([bundle, "--seed", str(2**64)], "seed"),
    ):
        status, out, err = call("page", *named, "--out", tmp_path / "site")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err
        assert not (tmp_path / "site").exists()
    (code / "worker.js").unlink()
    status, _, err = call("page", bundle, "--out", tmp_path / "site")
    assert (status, err) == (
        2,
        "edgernn: the code of the page is not built: run make web in edgernn's checkout, which needs Node.js\n",
    )


def test_a_damaged_tokenizer_is_refused(bundle):
    (bundle / "tokenizer.json").write_text("{}")
    seal(bundle, bundle / "tokenizer.json")
    with pytest.raises(TokenizerError, match="cannot be read"):
        build_site([bundle])


def test_a_name_cannot_leave_its_place_in_the_page(bundle, tmp_path):
    renamed = bundle.rename(tmp_path / "<script>alert(1)<")
    built = build_site([renamed])
    assert described(built)["title"] == renamed.name
    assert "<script>alert" not in built.files["index.html"].decode()
    with pytest.raises(BundleError):
        build_site([tmp_path])


def test_the_command(bundle, tmp_path, call):
    status, out, _ = call("page", bundle, "--out", tmp_path / "site", "--title", "Tiny", "--json")
    built = build_site([bundle], title="Tiny")
    assert status == 0
    assert json.loads(out) == {
        **{"site": str(tmp_path / "site"), "title": "Tiny", "files": len(built.files), "bytes": built.bytes},
        "first_visit_bytes": built.first_visit_bytes,
    }
    assert (
        f"{built.first_visit_bytes:,} bytes" in call("page", bundle, "--out", tmp_path / "other", "--title", "Tiny")[1]
    )


def test_icons_are_pictures_of_cells():
    for side, margin in ((192, 0.1), (512, 0.22)):
        data = icon(side, margin)
        assert struct.unpack(">II", data[16:24]) == (side, side)
        image = Image.open(io.BytesIO(data))
        image.load()
        colours = {colour for _, colour in image.getcolors()}
        assert colours >= {(16, 20, 28), (64, 140, 255), (255, 150, 40)}
        free = round(side * margin) - 1
        assert image.crop((0, 0, side, free)).getcolors() == [(side * free, (16, 20, 28))]


@pytest.fixture
def server(bundle):
    with Server(build_site([bundle]), port=0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def fetch(server, name, **headers):
    request = urllib.request.Request(server.url + name, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.headers, response.read()


def test_the_server_sends_the_files_as_a_host_would(server):
    types = {".js": "text/javascript; charset=utf-8", ".png": "image/png", ".webmanifest": "application/manifest+json"}
    for name, data in server.site.files.items():
        headers, body = fetch(server, name)
        assert body == data
        assert headers["Content-Type"] == types.get(PurePosixPath(name).suffix, headers["Content-Type"])
        assert headers["Cache-Control"] == (
            "public, max-age=31536000, immutable" if name.startswith("assets/") else "no-cache"
        )
    headers, body = fetch(server, "?from=home", **{"Accept-Encoding": "br, gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == server.site.files["index.html"]
    assert headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("name", ["none", "../tiny/bundle.json", "%2e%2e/tiny/bundle.json", "site.json", "%00"])
def test_the_server_sends_nothing_else(server, name):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(server, name)


def test_where_a_page_is_found(server, bundle):
    assert server.url == f"http://localhost:{server.server_port}/"
    assert server.network_url is None
    with pytest.raises(ConfigError, match=rf"localhost:{server.server_port} cannot be served: .*\(--port\)"):
        Server(server.site, port=server.server_port)
    with Server(server.site, "0.0.0.0", 0) as everywhere:
        assert everywhere.url == f"http://localhost:{everywhere.server_port}/"
        assert everywhere.network_url.endswith(f":{everywhere.server_port}/")
