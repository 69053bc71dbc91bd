"""The site of the documentation: Sphinx reads the Markdown pages of this folder, which GitHub shows as they are."""

import re
from inspect import cleandoc
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
LINK_TO_REPOSITORY = re.compile(r"\[([^]]+)]\(\.\./(?!docs/)[^)]*\)")  # of a file that is on no page

project = "edgernn"
copyright = "the authors of edgernn"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4
highlight_language = "none"
autodoc_member_order = "bysource"
add_module_names = False

html_theme = "furo"
html_title = "edgernn"
html_copy_source = False
html_show_sphinx = False


def read_page(app: Sphinx, page: str, text: list[str]) -> None:
    """Point the links of a page within the site. The page `contract` is the file beside the golden data."""
    if page == "contract":
        text[0] = (ROOT / "export" / "CONTRACT.md").read_text(encoding="utf-8")
    within = text[0].replace("](../export/CONTRACT.md", "](contract.md").replace("](../docs/", "](")
    text[0] = LINK_TO_REPOSITORY.sub(r"\1", within)


def read_docstring(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: what is indented is shown as it stands, and nothing else is markup."""
    paragraphs = cleandoc("\n".join(lines)).split("\n\n")
    lines[:] = [*"\n\n".join(map(_as_rst, paragraphs)).splitlines(), ""]


def _as_rst(paragraph: str) -> str:
    if any(line.startswith((" ", "├", "└")) for line in paragraph.splitlines()):
        return "::\n\n" + "\n".join(f"    {line}" for line in paragraph.splitlines())
    parts = re.split(r"(`[^`\n]+`)", paragraph)
    return "".join(f"`{part}`" if part.startswith("`") else re.sub(r"([\\*`|_])", r"\\\1", part) for part in parts)


def setup(app: Sphinx) -> None:
    """Connect the two readers."""
    app.connect("source-read", read_page)
    app.connect("autodoc-process-docstring", read_docstring)
