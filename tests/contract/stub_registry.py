"""An image registry of one image, with its errors (registry HTTP API V2, as far as a pull needs it)."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile

from aiohttp import web

_RIGHT = "Basic " + base64.b64encode(b"user:right").decode()


class Registry:
    """Has `image`; `broken` answers 503; nothing else is there. When `private`, `user` (password `right`) may ask."""

    def __init__(self) -> None:
        layer = gzip.compress(_tar({"hello": os.urandom(16)}), mtime=0)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(layer))]},
        }
        self._blobs = {_digest(blob): blob for blob in (layer, json.dumps(config).encode())}
        (layer_digest, config_digest), kind = self._blobs, "application/vnd.docker."
        sized = [(digest, len(self._blobs[digest])) for digest in (layer_digest, config_digest)]
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{kind}distribution.manifest.v2+json",
                "config": {"mediaType": f"{kind}container.image.v1+json", "digest": sized[1][0], "size": sized[1][1]},
                "layers": [
                    {"mediaType": f"{kind}image.rootfs.diff.tar.gzip", "digest": sized[0][0], "size": sized[0][1]}
                ],
            }
        ).encode()
        self.asked: list[str] = []
        self.private = False

    async def open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.path
        if self.private and request.headers.get("Authorization") != _RIGHT:
            return _error("UNAUTHORIZED", "authentication required", 401)
        if path == "/v2/":
            return web.Response(text="{}")
        name, _, rest = path.removeprefix("/v2/").rpartition("/")
        repository, _, kind = name.rpartition("/")
        if kind == "manifests" and request.method == "GET":
            self.asked.append(f"{repository}:{rest}")
        if repository == "broken":
            return _error("UNAVAILABLE", "try later", 503)
        if repository != "image":
            return _error("MANIFEST_UNKNOWN", "manifest unknown", 404)
        if kind == "blobs":
            return web.Response(body=self._blobs[rest], content_type="application/octet-stream")
        headers = {"Docker-Content-Digest": _digest(self.manifest)}
        return web.Response(
            body=self.manifest, content_type="application/vnd.docker.distribution.manifest.v2+json", headers=headers
        )


def _error(code: str, message: str, status: int) -> web.Response:
    headers = {"WWW-Authenticate": 'Basic realm="test"'} if status == 401 else {}
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status, headers=headers)


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
