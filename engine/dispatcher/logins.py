"""Logins of image registries for orders: unsealed here, sent with the orders that need them, never said."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from swarmsync.model.registries import RegistryLogin, purpose_of, registry_of
from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.protocol.messages import Order, RunJob
from swarmsync.seal import SealBroken, Sealer
from swarmsync.store import registries
from swarmsync.store.pool import Store

#: How old what we know of the logins may be when an order goes out.
FRESH_MS: Final = 200


class Logins:
    def __init__(self, store: Store, sealer: Sealer, journal: Callable[..., Any]) -> None:
        self._store = store
        self._sealer = sealer
        self._journal = journal
        self._opened: dict[str, RegistryLogin] = {}
        self._until_ms: int | None = None
        self._told: set[str] = set()

    async def refresh(self, now_ms: int) -> None:
        """Read them anew when they are old. Raises Unavailable."""
        if self._until_ms is not None and now_ms < self._until_ms:
            return
        opened = {}
        for row in await registries.sealed(self._store):
            registry, username = row["registry"], row["username"]
            try:
                password = self._sealer.unseal(row["sealed"], purpose_of(registry, username)).decode()
            except (SealBroken, UnicodeDecodeError) as problem:
                if registry not in self._told:
                    self._told.add(registry)
                    self._journal("warning", f"the login of the registry {registry} cannot be opened: {problem}")
                continue
            opened[registry] = RegistryLogin(username, password)
        self._opened, self._until_ms = opened, now_ms + FRESH_MS

    def of_orders(self, specs: Mapping[int, bytes], orders: Iterable[Order]) -> dict[str, RegistryLogin]:
        """Return what these orders' images need, and nothing else."""
        if not self._opened:
            return {}
        wanted = {registry_of(decode_stored_spec(document).image) for document in specs.values()}
        wanted |= {registry_of(order.image) for order in orders if isinstance(order, RunJob) and order.image}
        return {registry: self._opened[registry] for registry in sorted(wanted & self._opened.keys())}
