"""A small web server that shows a site on this machine, as a host would: compressed, and with names kept for good."""

from __future__ import annotations

import ipaddress
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from edgernn.errors import ConfigError
from edgernn.page.site import HASHED, Site, compressed

__all__ = ["Server"]

_TYPES = {
    **{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"},
    **{".json": "application/json", ".webmanifest": "application/manifest+json", ".png": "image/png"},
    ".wasm": "application/wasm",
}
_ANY = "application/octet-stream"


class Server(ThreadingHTTPServer):
    """Serves the files of a site from memory, and no others."""

    daemon_threads = True

    def __init__(self, site: Site, host: str = "localhost", port: int = 8000) -> None:
        """Listen on `host` and `port`; port 0 is any free one.

        Raises ConfigError for an address that this machine does not have, or a port that is taken.
        """
        self.site = site
        self.smaller = {name: compressed(name, data) for name, data in site.files.items()}
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(
                f"{host}:{port} cannot be served: {why}: choose another port (--port) or address (--host)"
            ) from None
        self.host = host

    @property
    def url(self) -> str:
        """Where the page is, on this machine."""
        local = "localhost" if _is_any(self.host) else self.host
        return f"http://{local}:{self.server_port}/"

    @property
    def network_url(self) -> str | None:
        """Where other devices find the page; None if it listens on this machine only."""
        if self.is_local:
            return None
        address = self.host if not _is_any(self.host) else _own_address()
        return f"http://{address}:{self.server_port}/"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        return ipaddress.ip_address(self.server_address[0]).is_loopback  # type: ignore[arg-type] # of IPv4

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that has left; print any other error, as the base class does."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # of TCP


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file of the site, or say that there is none."""
        self._send(body=True)

    def do_HEAD(self) -> None:
        """As GET, without the content."""
        self._send(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a page asks for a dozen files."""

    def _send(self, *, body: bool) -> None:
        name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
        data = self.server.site.files.get(name)
        if data is None:
            self.send_error(HTTPStatus.NOT_FOUND, "there is no such file")
            return
        smaller = self.server.smaller[name] if "gzip" in self.headers.get("Accept-Encoding", "") else None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _TYPES.get(PurePosixPath(name).suffix, _ANY))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Vary", "Accept-Encoding")
        kept = "public, max-age=31536000, immutable" if name.startswith(HASHED) else "no-cache"
        self.send_header("Cache-Control", kept)
        if smaller is not None:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(smaller or data)))
        self.end_headers()
        if body:
            self.wfile.write(smaller or data)


def _is_any(host: str) -> bool:
    return host in ("", "0.0.0.0")


def _own_address() -> str:
    """The address by which this machine reaches its network. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that is reserved for documentation (RFC 5737)
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
