"""`/`: the dashboard, a page and a few files of this package. They are public; what they show needs a session."""

from hashlib import sha256
from importlib import resources
from typing import Any, Final

from msgspec import Struct

from api.access import Access
from api.endpoint import Call, Resource, endpoint
from swarmsync.errors import NotFound

#: Nothing is inline and nothing comes from elsewhere, so the page may load nothing else.
POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; img-src 'self'"
)
KINDS: Final = {
    "index.html": "text/html; charset=utf-8",
    **dict.fromkeys(
        ("app.js", "boards.js", "curves.js", "dom.js", "job.js", "jobs.js", "lib.js", "link.js"),
        "text/javascript; charset=utf-8",
    ),
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class StaticFile(Struct, frozen=True):
    content: bytes
    kind: str
    etag: str


def read_files() -> dict[str, StaticFile]:
    """Read the files of the table above, and no others."""
    found = {}
    for name, kind in KINDS.items():
        content = resources.files("api").joinpath("static", name).read_bytes()
        found[name] = StaticFile(content, kind, f'"{sha256(content).hexdigest()[:32]}"')
    return found


class Dashboard(Resource):
    """A name is looked up in a table made at the start: no request reaches the file system."""

    files: Final = read_files()

    @endpoint(Access.PUBLIC, "The dashboard", answer="HTML", media="text/html")
    async def on_get(self, call: Call) -> Any:
        self._send(call, "index.html")

    @endpoint(Access.PUBLIC, "A file of the dashboard", answer="text", media="text/plain")
    async def on_get_file(self, call: Call, file: str) -> Any:
        self._send(call, file)

    def _send(self, call: Call, name: str) -> None:
        found = self.files.get(name)
        if found is None:
            raise NotFound(f"the dashboard has no file {name[:40]!r}")
        response = call.response
        response.set_header("Content-Security-Policy", POLICY)
        response.set_header("X-Content-Type-Options", "nosniff")
        response.set_header("Referrer-Policy", "no-referrer")
        response.set_header("Cache-Control", "no-cache")
        response.set_header("ETag", found.etag)
        known = {
            text.strip().removeprefix("W/") for text in (call.request.get_header("If-None-Match") or "").split(",")
        }
        if known & {found.etag, "*"}:
            response.status = 304
            return
        response.content_type = found.kind
        response.data = found.content
