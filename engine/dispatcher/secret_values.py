"""Secrets of the jobs that are ordered now: unsealed here, put into the order, and kept nowhere."""

from collections.abc import Mapping, Sequence

from swarmsync.model.files import SecretUse, secret_uses
from swarmsync.model.job import JobRef
from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.protocol.messages import SecretValue
from swarmsync.seal import SealBroken, Sealer
from swarmsync.store import secrets
from swarmsync.store.jobs import Dispatched
from swarmsync.store.pool import Store

#: What every document of a spec with secrets contains: spares the others the decoding.
_MARK = b'"secrets":'


class SecretValues:
    """Looks up values per order; what it remembers of a spec is names only."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._uses: dict[int, tuple[SecretUse, ...]] = {}

    async def of(
        self, won: Sequence[Dispatched], specs: Mapping[int, bytes]
    ) -> dict[JobRef, tuple[tuple[SecretValue, ...], str]]:
        """Return (values, what is missing as a sentence) of each job that names secrets. Raises Unavailable."""
        self._uses = {spec_id: uses for spec_id, uses in self._uses.items() if spec_id in specs}
        wanted = [(entry, uses) for entry in won if (uses := self._uses_of(entry.spec_id, specs))]
        if not wanted:
            return {}
        names = sorted({(entry.user_id, use.name) for entry, uses in wanted for use in uses})
        found = await secrets.sealed(self._store, names)
        return {entry.ref: self._values(entry.user_id, uses, found) for entry, uses in wanted}

    def _uses_of(self, spec_id: int, specs: Mapping[int, bytes]) -> tuple[SecretUse, ...]:
        known = self._uses.get(spec_id)
        if known is None:
            document = specs.get(spec_id, b"")
            known = secret_uses(decode_stored_spec(document).secrets) if _MARK in document else ()
            self._uses[spec_id] = known
        return known

    def _values(
        self, user_id: int, uses: Sequence[SecretUse], found: Mapping[tuple[int, str], bytes]
    ) -> tuple[tuple[SecretValue, ...], str]:
        values = []
        for use in uses:
            sealed = found.get((user_id, use.name))
            if sealed is None:
                return (), f"the secret {use.name} was deleted after the job was submitted"
            try:
                value = self._sealer.unseal(sealed, secrets.purpose(user_id, use.name))
            except SealBroken as problem:
                return (), f"the secret {use.name} cannot be opened: {problem}"
            values.append(SecretValue(use.name, value, use.env))
        return tuple(values), ""
