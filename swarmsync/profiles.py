"""Where Core is and who we are to it: the profiles file and the variables that go before it.

The file is `{"current": NAME, "profiles": {NAME: {"url": ..., "token": ...}}}`, readable by its owner only.
`SWARMSYNC_PROFILE` chooses a profile; `SWARMSYNC_URL` and `SWARMSYNC_TOKEN` replace its fields.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from swarmsync.errors import RequestError

DEFAULT_URL: Final = "http://127.0.0.1:8420"
DEFAULT_NAME: Final = "local"


class Profile(Struct, frozen=True):
    name: str = DEFAULT_NAME
    url: str = DEFAULT_URL
    token: str = ""
    ca: str = ""  # the authority's certificate, where it is a private one


def select(environ: Mapping[str, str], path: Path) -> Profile:
    """Return the profile in force. Raises RequestError for a file that cannot be read or a name that it lacks."""
    document = _read(path)
    name = environ.get("SWARMSYNC_PROFILE") or document.get("current") or DEFAULT_NAME
    stored = document["profiles"].get(name)
    if stored is None and environ.get("SWARMSYNC_PROFILE") and not environ.get("SWARMSYNC_URL"):
        raise RequestError(f"there is no profile {name!r} in {path}; make it with: consumer login --url URL")
    stored = stored or {}
    url = environ.get("SWARMSYNC_URL") or stored.get("url") or DEFAULT_URL
    authority = environ.get("SWARMSYNC_CA") or stored.get("ca", "")
    return Profile(name, url, environ.get("SWARMSYNC_TOKEN") or _token_for(url, stored), authority)


def _token_for(url: str, stored: Mapping[str, str]) -> str:
    """A stored token goes only to the Core that gave it."""
    return stored.get("token", "") if url.rstrip("/") == stored.get("url", "").rstrip("/") else ""


def save(profile: Profile, path: Path) -> None:
    """Store a login and make it the current one; other profiles stay. The file is replaced in one step, mode 0600."""
    document = _read(path)
    document["profiles"][profile.name] = {
        "url": profile.url,
        "token": profile.token,
        **({"ca": profile.ca} if profile.ca else {}),
    }
    document["current"] = profile.name
    _write(document, path)


def forget(name: str, path: Path) -> None:
    """Remove the token of a profile; its address stays."""
    document = _read(path)
    if name in document["profiles"]:
        document["profiles"][name].pop("token", None)
        _write(document, path)


def _read(path: Path) -> dict[str, Any]:
    """Read the file. Raises RequestError for one that is damaged, or that somebody else owns, writes or can read."""
    try:
        with path.open() as file:
            found = os.fstat(file.fileno())
            text = file.read()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
            raise RequestError(f"others can write the profiles file {path}; remove it and log in again")
        document = json.loads(text)
        if stat.S_IMODE(found.st_mode) & 0o044 and '"token"' in text:
            raise RequestError(f"others can read the tokens in {path}; make it yours alone with: chmod 600 {path}")
    except FileNotFoundError:
        document = {}
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot read the profiles file {path}: {error}; remove it and log in again") from None
    profiles = document.get("profiles", {}) if isinstance(document, dict) else None
    if not isinstance(profiles, dict) or not all(isinstance(entry, dict) for entry in profiles.values()):
        raise RequestError(f"the profiles file {path} is damaged; remove it and log in again")
    return {**document, "profiles": profiles}


def _write(document: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        json.dump(document, file, indent=2)
    fresh.replace(path)


def profile_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The file with the logins of `consumer`: `$XDG_CONFIG_HOME/swarmsync/profiles.json`."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    return Path(base) / "swarmsync" / "profiles.json"


def current() -> tuple[Profile, Path]:
    """Return the profile in force in this process's environment, and the file. Raises RequestError."""
    path = profile_path(os.environ)
    return select(os.environ, path), path
