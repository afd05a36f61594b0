"""A client for the profile in force, and how patient a command is with a Core that is away."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from swarmsync.client import Client

#: How long a management command goes on trying: long enough for a restart of the API, short enough to be told at once.
PATIENCE_S: Final = 1.5
#: The same for what must not get lost.
SUBMIT_PATIENCE_S: Final = 3.0


def connect(patience_s: float = PATIENCE_S) -> "Client":
    """Return a client for the profile in force; a token that Core writes there later is taken up."""
    from swarmsync.client import Client

    return Client(patience_s=patience_s)
