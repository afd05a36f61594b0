"""The keeper of the lead: a process of its own that waits for the lead, holds it, and notices when it is lost.

One session of PostgreSQL holds an advisory lock as long as its Core leads. It renews the lead's pulse, with the
database's clock, several times in a lease; the lease ends sooner than a standby's patience does. So an old leader that
stood still, or was cut off, has stopped by itself when the next one begins, and what it still had under way is refused
by PostgreSQL (decision 0040).
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

import asyncpg
from msgspec import Struct

from conf.settings import CoreSettings
from engine.lead_word import LeadWord
from swarmsync.store import cores

TRY_S: Final = 0.2
TELL_S: Final = 2.0
PAUSE_S: Final = 0.3
_SESSION: Final = {
    "application_name": cores.HOLDER,
    "search_path": "swarmsync",
    "timezone": "UTC",
    "statement_timeout": "5000",
    "tcp_user_timeout": "4000",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
}


class Identity(Struct, frozen=True):
    """How this Core is listed."""

    id: str
    name: str
    address: str
    version: str

    @property
    def row(self) -> tuple[str, str, str, str]:
        return self.id, self.name, self.address, self.version


def keeper_main(url: str, identity: Identity, word: LeadWord, settings: CoreSettings) -> Callable[[], None]:
    """Return what the forked process runs."""
    return lambda: asyncio.run(_Keeper(url, identity, word, settings).run())


class _Keeper:
    def __init__(self, url: str, identity: Identity, word: LeadWord, settings: CoreSettings) -> None:
        self._url, self._identity, self._word = url, identity, word
        self._lease_ms, self._silent_s = settings.lease_ms, (settings.lease_ms + settings.lease_slack_ms) / 1000
        self._stopping = asyncio.Event()
        self._term = 0
        self._told_s = 0.0

    async def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        self._word.leave()
        while not self._stopping.is_set():
            try:
                await self._session()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
                sys.stderr.write(f"lead: {type(problem).__name__}: {problem}\n")
            self._word.leave()
            self._term = 0
            await self._pause(PAUSE_S)

    async def _session(self) -> None:
        """Wait and lead on one connection. Ends when told to stop, or when another Core leads; else by an error."""
        timeout_s, suspect = self._lease_ms / 1000, 0
        connection = await asyncpg.connect(self._url, timeout=5, command_timeout=timeout_s, server_settings=_SESSION)
        try:
            while not self._stopping.is_set():
                began_ms = time.monotonic_ns() // 1_000_000
                if not self._term:
                    self._term, suspect = await cores.try_to_lead(
                        connection, self._identity.id, self._silent_s, suspect
                    )
                elif not await cores.still_leads(connection, self._term):
                    return
                if self._term:
                    self._word.lead(self._term, began_ms + self._lease_ms)
                await self._tell(connection)
                await self._pause(self._lease_ms / 8_000 if self._term else TRY_S)
            self._word.leave()
            await cores.leave(connection, self._identity.id, self._term)
        finally:
            connection.terminate()

    async def _tell(self, connection: asyncpg.Connection) -> None:
        now_s = time.monotonic()
        if now_s >= self._told_s + TELL_S:
            self._told_s = now_s
            await cores.tell(connection, self._identity.row, alone=False)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
