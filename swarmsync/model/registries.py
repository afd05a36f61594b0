"""Which registry an image's name speaks of, and the login for it. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from swarmsync.model.bounds import Word

#: Where a name without a registry comes from, as Docker has it.
DEFAULT_REGISTRY: Final = "docker.io"
REGISTRY: Final = re.compile(r"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?")


class RegistryLogin(Struct, frozen=True, array_like=True):
    """Credentials for one registry. Never shown: neither in a log nor in a traceback."""

    username: Word
    password: Word

    def __repr__(self) -> str:
        return f"RegistryLogin(username={self.username!r}, password=***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("username", self.username), ("password", "***")]


def registry_of(image: str) -> str:
    """Return the registry of an image: its first part, if that can be an address, else Docker's own."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first.lower()
    return DEFAULT_REGISTRY


def login_for(image: str, logins: Mapping[str, RegistryLogin]) -> RegistryLogin | None:
    return logins.get(registry_of(image))


def purpose_of(registry: str, username: str) -> str:
    """What the sealed password is bound to."""
    return f"registry:{registry}:{username}"
