"""The static folder of a page: the page's own code, the files of its bundles, and what a browser needs to install it.

index.html              the page, with a description of the site; it names every other file by its hash
sw.js                   the service worker, which keeps all files for use offline
site.json               what edgernn wrote here: the files with their sizes
assets/NAME-HASH.EXT    all other files; their content never changes, so that a browser keeps them
….gz                    the same file compressed, for hosts that send such a file to browsers that accept it
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any

from edgernn import records
from edgernn.atomic import new_directory
from edgernn.bundle import MANIFEST, Bundle
from edgernn.errors import BundleError, ConfigError, FormatError, TokenizerError
from edgernn.media.text import as_read
from edgernn.page.icons import icon
from edgernn.page.png import png
from edgernn.page.views import example, view_of
from edgernn.paths import SITE, Kind, identify
from edgernn.runtime.pipelines.caption import CaptionOptions
from edgernn.runtime.pipelines.draw import DrawOptions
from edgernn.runtime.pipelines.language import LanguageOptions
from edgernn.runtime.pipelines.pens import PensOptions
from edgernn.tokenizer import Tokenizer

__all__ = ["CODE", "HASHED", "TARGET", "Opening", "Site", "build_site", "compressed"]

TARGET = "wasm"
ONNX = "onnx"  # the other target: its bundles need onnxruntime, which is large
CODE = files("edgernn.page").joinpath("app")  # the page's own code, which `make web` builds
HASHED = "assets/"  # the folder of the files whose names hold a hash of their content
_APP = ("index.html", "main.js", "page.css", "sw.js", "worker.js")
_MICROPHONE = "worklet.js"
_ONNXRUNTIME = {"code": "onnx.js", "module": "onnx.wasm"}
_PROMPTS = ("The ", "the ", "A", "a", "\n")
_COMPRESSED = {".css", ".html", ".js", ".json", ".wasm", ".bin", ".webmanifest", ".npy"}
_ICONS = {"icon-192": (192, 0.1), "icon-512": (512, 0.1), "icon-maskable": (512, 0.22)}  # side, margin


@dataclass(frozen=True)
class Opening:
    """What a page writes before its user does anything.

    prompt: what the text begins with; None for a beginning that each bundle's vocabulary has. seed: of the text, and of
    the first drawing.
    Raises ConfigError for an empty prompt or a seed that is not a 64-bit number.
    """

    prompt: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.prompt == "":
            raise ConfigError("the prompt (--opening) is empty: give the text that the page begins with")
        LanguageOptions(seed=self.seed)

    def prompt_for(self, tokenizer: Tokenizer, path: Path) -> str:
        """Return the prompt for a vocabulary. Raises TokenizerError if it lacks a part of the prompt."""
        if self.prompt is not None:
            try:
                tokenizer.encode(self.prompt)
            except TokenizerError as error:
                raise TokenizerError(f"{path}: {error}: choose another prompt (--opening)") from None
            return self.prompt
        return next((each for each in _PROMPTS if _known(tokenizer, each)), tokenizer.decode([len(tokenizer) - 1]))


@dataclass(frozen=True)
class Site:
    """The files of a site, by their paths in its folder. first_visit: those that a first visit downloads."""

    title: str
    files: Mapping[str, bytes]
    first_visit: Sequence[str]

    @property
    def bytes(self) -> int:
        """The size of all files, without their compressed copies."""
        return sum(map(len, self.files.values()))

    @property
    def first_visit_bytes(self) -> int:
        """What a first visit downloads, where the host sends files compressed."""
        return sum(len(compressed(name, self.files[name]) or self.files[name]) for name in self.first_visit)

    def write(self, out: str | Path, *, overwrite: bool = False) -> None:
        """Write the folder `out`, whole or not at all.

        Raises OutputExistsError where `out` exists, unless it is a site and `overwrite` is set; OutputError where it
        cannot be written.
        """
        sizes = {name: len(data) for name, data in self.files.items()}
        record = {"title": self.title, "first_visit": self.first_visit_bytes, "files": sizes}
        with new_directory(Path(out), overwrite=overwrite, kind=Kind.SITE, strangers=_strangers) as directory:
            for name, data in self.files.items():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_bytes(data)
                if (smaller := compressed(name, data)) is not None:
                    (directory / f"{name}.gz").write_bytes(smaller)
            (directory / SITE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def compressed(name: str, data: bytes) -> bytes | None:
    """Return a file compressed by gzip, the same on every machine; None for one that would not become smaller."""
    if PurePosixPath(name).suffix not in _COMPRESSED:
        return None
    smaller = gzip.compress(data, 9, mtime=0)
    return smaller if len(smaller) < len(data) else None


def build_site(paths: Sequence[Path], *, title: str = "", opening: Opening = Opening()) -> Site:
    """Return the site of the bundles at `paths`, each of which is a tab of the page.

    title: the page's name; by default those of the bundles.
    Raises BundleError for a bundle that is damaged, of another target than wasm and onnx, or of a task that the page
    does not show; ConfigError where edgernn was installed without the code of the page, or for a bundle that is named
    twice; CorpusError for a title with invalid characters.
    """
    app = _app()
    names = _names(paths)
    assets: dict[str, bytes] = {}
    shown = [_add_bundle(assets, path, name, opening) for path, name in zip(paths, names, strict=True)]
    listens = any(each["view"] == "listen" for each in shown)
    needs_onnx = any(each["target"] == ONNX for each in shown)
    title = as_read(title or ", ".join(names), "the title of the page (--title)")
    urls = {name: _add(assets, name, app[name]) for name in ("main.js", "page.css", "worker.js")}
    urls |= {name: _add(assets, f"{name}.png", icon(*form)) for name, form in _ICONS.items()}
    manifest = _add(assets, "app.webmanifest", _web_manifest(title, urls), folder="")
    defaults = {"sampler": _sampler(), "caption": _caption()}
    defaults |= {"drawing": _temperature(DrawOptions()), "strokes": _temperature(PensOptions())}
    described = {
        **{"title": title, "worker": urls["worker.js"], **defaults, "bundles": shown},
        "microphone": _add(assets, _MICROPHONE, _code(_MICROPHONE)) if listens else None,
        "onnx": {use: _add(assets, name, _code(name)) for use, name in _ONNXRUNTIME.items()} if needs_onnx else None,
    }
    index = Template(app["index.html"].decode()).substitute(
        title=escape(title),
        page=urls["page.css"],
        main=urls["main.js"],
        icon=urls["icon-192"],
        manifest=manifest,
        site=json.dumps(described).replace("<", "\\u003c"),
    )
    files = {"index.html": index.encode(), **assets}
    version = hashlib.sha256(json.dumps(sorted(files)).encode() + files["index.html"]).hexdigest()[:16]
    kept = {"version": version, "files": ["./", *assets]}
    files["sw.js"] = f"self.SITE = {json.dumps(kept)};\n".encode() + app["sw.js"]
    return Site(title, files, list(files))


def _app() -> dict[str, bytes]:
    """The built code that every page has, by file name."""
    return {name: _code(name) for name in _APP}


def _code(name: str) -> bytes:
    try:
        return CODE.joinpath(name).read_bytes()
    except OSError:
        raise ConfigError(
            "the code of the page is not built: run make web in edgernn's checkout, which needs Node.js"
        ) from None


def _names(paths: Sequence[Path]) -> list[str]:
    """The names of the tabs: those of the bundles' folders, which must differ."""
    names = [path.resolve().name for path in paths]
    if repeated := next((name for name in names if names.count(name) > 1), ""):
        raise ConfigError(f"two bundles are called {repeated}: their names are the page's tabs; rename one's folder")
    return names


def _add_bundle(assets: dict[str, bytes], path: Path, name: str, opening: Opening) -> dict[str, Any]:
    """Add the files that the page needs of a bundle, and return what it is told of the bundle."""
    if identify(path).kind is Kind.RUN:
        raise BundleError(f"{path} is a run: export it with edgernn export {path} --to {TARGET} --out BUNDLE")
    bundle = Bundle.load(path)
    manifest = bundle.manifest
    view = view_of(bundle)
    if view is None:
        raise BundleError(
            f"{path} is a bundle of the task {manifest.task}, and the page shows models that continue a text, describe "
            "pictures, draw pictures or strokes, paint photos, look at pictures by glimpses, or label sound"
        )
    if manifest.target not in (TARGET, ONNX):
        raise BundleError(
            f"{path} is for {manifest.target}, and a page runs {TARGET} and {ONNX}: export its run again with "
            f"edgernn export RUN --to {TARGET} --precision {manifest.precision} --out BUNDLE"
        )
    tokenizer = bundle.tokenizer()
    served = {each: data for each, data in bundle.files.items() if _is_served(each)}
    served[MANIFEST] = (path / MANIFEST).read_bytes()
    picture = example(bundle)
    return {
        "name": name,
        "view": view,
        "target": manifest.target,
        "digest": manifest.digest,
        "precision": manifest.precision,
        "prompt": opening.prompt_for(tokenizer, path) if view == "text" and tokenizer is not None else "",
        "seed": str(opening.seed),
        "example": None if picture is None else _add(assets, "example.png", png(picture)),
        "files": {each: _add(assets, PurePosixPath(each).name, data) for each, data in served.items()},
    }


def _is_served(file: str) -> bool:
    """Whether the page needs a file of a bundle: not the golden vectors, and not the source code in C."""
    return not file.startswith("golden/") and PurePosixPath(file).suffix not in (".c", ".h")


def _add(assets: dict[str, bytes], name: str, data: bytes, folder: str = HASHED) -> str:
    """Add a file under a name that holds its hash, and return its path."""
    file = PurePosixPath(name)
    path = f"{folder}{file.stem}-{hashlib.sha256(data).hexdigest()[:12]}{file.suffix}"
    assets[path] = data
    return path


def _web_manifest(title: str, urls: Mapping[str, str]) -> bytes:
    """What a browser needs to install the page (https://www.w3.org/TR/appmanifest/)."""
    icons = [
        {"src": urls[name], "sizes": f"{side}x{side}", "type": "image/png"}
        | ({"purpose": "maskable"} if name == "icon-maskable" else {})
        for name, (side, _) in _ICONS.items()
    ]
    values = {
        **{"name": title, "short_name": title[:12], "id": "./", "start_url": "./", "scope": "./"},
        **{"display": "standalone", "background_color": "#10141c", "theme_color": "#10141c", "icons": icons},
    }
    return json.dumps(values).encode()


def _sampler() -> dict[str, Any]:
    """The settings with which `edgernn run` samples, and the number of tokens that it generates."""
    defaults = LanguageOptions()
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens")
    return {name: getattr(defaults, name) for name in names}


def _caption() -> dict[str, Any]:
    """How `edgernn caption` describes a picture."""
    defaults = CaptionOptions()
    return {"beam": defaults.beam, "max_tokens": defaults.max_tokens}


def _temperature(defaults: DrawOptions | PensOptions) -> dict[str, Any]:
    """The temperature with which `edgernn run` draws."""
    return {"temperature": defaults.temperature}


def _known(tokenizer: Tokenizer, text: str) -> bool:
    try:
        return len(tokenizer.encode(text)) > 0
    except TokenizerError:
        return False


def _strangers(directory: Path) -> list[str]:
    """The files in `directory` that do not belong to the site there; all of them, if its record is damaged."""
    known: set[str] = set()
    with suppress(FormatError, KeyError, OSError):
        record = records.mapping(records.parse((directory / SITE).read_bytes(), SITE), SITE)
        listed = records.mapping(record["files"], "files")
        known = {SITE, *listed, *(f"{name}.gz" for name in listed)} if "first_visit" in record else known
    files = [path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted({path.relative_to(directory).as_posix() for path in files} - known)
