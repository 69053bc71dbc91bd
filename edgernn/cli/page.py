"""`edgernn page` and `edgernn serve`: a page for the browser that runs bundles."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, result
from edgernn.cli.options import number

if TYPE_CHECKING:
    from edgernn.page import Site

__all__ = ["page", "serve"]

_Bundles = Annotated[
    list[Path],
    typer.Argument(
        metavar="BUNDLE",
        help="The bundles, each for the target wasm or onnx; the page has a tab for each.",
        show_default=False,
    ),
]
_Title = Annotated[str | None, typer.Option(help="The title of the page.", show_default="the names of the bundles")]
_Opening = Annotated[
    str | None,
    typer.Option(
        help="The prompt of the first text, which the page continues when it is opened.",
        show_default="The, if the vocabulary has it",
    ),
]
_Seed = Annotated[
    int,
    typer.Option(parser=number("seed", low=0, below=2**64), help="The seed of the first text, as for edgernn run."),
]


def page(
    bundles: _Bundles,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    title: _Title = None,
    opening: _Opening = None,
    seed: _Seed = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing site at --out; other files are never replaced.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a page that runs bundles in the browser of a computer or phone, offline after the first visit.

    The folder is static: any host with https can serve it, from any path. The page requests nothing from other hosts.

    [bold]Example:[/bold] edgernn page bundles/shakespeare-wasm --out site
    """
    site = _site(bundles, title, opening, seed)
    site.write(out, overwrite=overwrite)
    values = {
        **{"site": str(out), "title": site.title, "files": len(site.files), "bytes": site.bytes},
        "first_visit_bytes": site.first_visit_bytes,
    }
    text = (
        f"{out}: {len(site.files)} files, {site.bytes:,} bytes; a first visit downloads {site.first_visit_bytes:,} "
        "bytes from a host that sends files compressed"
    )
    result(values, text, as_json=json)


def serve(
    bundles: _Bundles,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on; with 0.0.0.0, other devices on the network can open the page."),
    ] = "localhost",
    port: Annotated[
        int, typer.Option(parser=number("port", low=0, high=65535), help="The port; 0 chooses a free one.")
    ] = 8000,
    title: _Title = None,
    opening: _Opening = None,
    seed: _Seed = 1,
    json: Json = False,
) -> None:
    """Serve the page of bundles on this machine until Ctrl-C.

    On this machine everything works. Other devices find the page with --host 0.0.0.0, but without https their browsers
    neither keep it for use offline nor install it.

    [bold]Example:[/bold] edgernn serve bundles/shakespeare-wasm
    """
    from edgernn.page import Server

    with Server(_site(bundles, title, opening, seed), host, port) as server:
        urls = {"url": server.url, "network_url": server.network_url}
        result(urls, server.url, as_json=json)
        if server.network_url is not None:
            log(
                f"other devices: {server.network_url}, where browsers neither keep the page offline nor install it, "
                "since it is not https: put the folder that edgernn page writes on a host with https"
            )
        log("Ctrl-C ends the server")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _site(bundles: list[Path], title: str | None, opening: str | None, seed: int) -> Site:
    from edgernn.page import Opening, build_site

    return build_site(bundles, title=title or "", opening=Opening(opening, seed))
