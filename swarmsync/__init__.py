"""Words, rules, stores and the client that all SwarmSync programs share.

Read `model/lifecycle.py` (states), then `protocol/messages.py` (words between processes), then `store/jobs.py` (truth).
For programs that submit jobs: `from swarmsync import Client, AsyncClient`; what they raise is in `swarmsync.errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarmsync.async_client import AsyncClient as AsyncClient
    from swarmsync.client import Client as Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    """Import a client when it is asked for: every process of Core imports this package, few need one."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("swarmsync.async_client" if name == "AsyncClient" else "swarmsync.client"), name)
