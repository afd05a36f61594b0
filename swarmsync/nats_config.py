"""The embedded NATS's configuration: who may log in, and to which subjects. Written by Core, read by nats-server.

One login per kind of program of Core's; one key per worker, which lets it publish and hear as itself and nothing else.
`join` is what a machine without a key has: it may ask to be enrolled. Keys come and go without a restart: the file is
replaced and the server told to read it again, which also cuts off whoever is not in it any more.
"""

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from swarmsync.protocol import subjects

JOIN: Final = "join"


class NatsConfig(Struct, frozen=True):
    """Where the server's files are, and the passwords of Core's own programs."""

    home: str
    port: int
    passwords: dict[str, str]
    bind: str = "127.0.0.1"
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    shared_worker: bool = False  # one login for all workers: for simulated ones, of which a process runs many

    def __repr__(self) -> str:
        return f"NatsConfig({self.home!r}, ***)"

    @property
    def path(self) -> Path:
        return Path(self.home) / "nats.conf"

    @property
    def _kept(self) -> Path:
        return Path(self.home) / "workers.json"

    @property
    def near(self) -> str:
        """The address under which programs of this machine reach the server."""
        return "127.0.0.1" if self.bind in ("0.0.0.0", "::", "localhost") else self.bind  # noqa: S104 compared, not bound

    def login_url(self, kind: str, address: str = "", *, trust: bool = True) -> str:
        """Return the URL of a login; `trust` names the authority's file, which is on this machine only."""
        address = address or (f"[{self.near}]" if ":" in self.near else self.near)
        scheme, query = ("tls" if self.tls_cert else "nats"), ""
        if self.tls_cert and self.tls_ca and trust:
            query = f"?ca={quote(self.tls_ca, safe='/')}"
        return f"{scheme}://{kind}:{quote(self.passwords[f'nats_{kind}'], safe='')}@{address}:{self.port}{query}"

    def known_keys(self) -> dict[str, str]:
        """Return the keys that the server was told last, by worker: it starts with them before PostgreSQL was asked."""
        try:
            kept = json.loads(self._kept.read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): str(key) for name, key in kept.items()} if isinstance(kept, dict) else {}

    def write(self, keys: Mapping[str, str]) -> None:
        _write_private(self.path, self.text(keys))

    def tell(self, keys: Mapping[str, str]) -> None:
        """Have the running server work with these keys. While none runs they stay unknown, and are to be told again."""
        self.write(keys)
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((Path(self.home) / "nats.pid").read_text()), signal.SIGHUP)
            self.keep(keys)

    def keep(self, keys: Mapping[str, str]) -> None:
        """Note what the server that runs was told, or what the next one starts with."""
        _write_private(self._kept, json.dumps(dict(sorted(keys.items()))))

    def text(self, keys: Mapping[str, str]) -> str:
        users = [
            _password("engine", self.passwords),
            _password(
                "api",
                self.passwords,
                publish=[f"core.{word}" for word in ("changed", "submitted", "workers", "limits", "ask")],
                subscribe=["core.>", "_INBOX.>"],
            ),
            _password(JOIN, self.passwords, publish=[subjects.ENROLL], subscribe=[f"{subjects.inbox(JOIN)}.>"]),
        ]
        if self.shared_worker:
            users.append(
                _password("worker", self.passwords, publish=["w.*.up.*"], subscribe=["w.*.down.*", "_INBOX.>"])
            )
        users += [
            f"{{ nkey: {json.dumps(key)}, permissions: "
            f"{_permissions([f'w.{name}.up.*'], [subjects.orders(name), subjects.inbox(name) + '.>'])} }}"
            for name, key in sorted(keys.items())
        ]
        lines = "\n    ".join(users)
        return f"""
host: {json.dumps(self.bind)}
port: {self.port}
server_name: swarmsync
pid_file: {json.dumps(str(Path(self.home) / "nats.pid"))}
max_payload: 8MB
max_pending: 128MB
max_closed_clients: 64
ping_interval: "10s"
ping_max: 2{self._tls()}
authorization {{
  users: [
    {lines}
  ]
}}
"""

    def _tls(self) -> str:
        if not self.tls_cert:
            return ""
        files = f"cert_file: {json.dumps(self.tls_cert)}, key_file: {json.dumps(self.tls_key)}"
        return f'\ntls {{ {files}, min_version: "1.2" }}'


def _password(
    name: str, passwords: Mapping[str, str], *, publish: list[str] | None = None, subscribe: list[str] | None = None
) -> str:
    login = f'{{ user: {name}, password: "{passwords[f"nats_{name}"]}"'
    if publish is None or subscribe is None:
        return f"{login} }}"
    return f"{login}, permissions: {_permissions(publish, subscribe)} }}"


def _permissions(publish: list[str], subscribe: list[str]) -> str:
    return f"{{ publish: {json.dumps(publish)}, subscribe: {json.dumps(subscribe)} }}"


def _write_private(path: Path, text: str) -> None:
    """Replace the file at once: the server never reads half of it."""
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)
