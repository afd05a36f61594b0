"""Connections to PostgreSQL: bounded waits everywhere, one retry rule, and who the connection acts as.

asyncpg's pool waits for ever by default; here every wait has an end, and what PostgreSQL says is sorted into "try the
whole transaction again" (serialization, deadlock), "come back later" (Unavailable) and bugs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from swarmsync.errors import StaleEpoch, Unavailable

T = TypeVar("T")

TRIES: Final = 5
#: The word of check_term(), see migrations/0017_cores.sql.
ANOTHER_LEADS: Final = "SS001"
_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg's word when the server cuts the connection between two of its steps
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    OSError,
    TimeoutError,
)
_AGAIN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

#: The engine touches rows by key only: a plan that scans the table for a batch of one was measured at 26 ms
#: (decision 0004), so the planner is told not to think of it.
ENGINE_PLANS: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}


#: A connection is closed after so many uses: its process in PostgreSQL has grown by then.
USES_MAX: Final = 50_000
#: So many are opened before one is made to act as somebody else.
OPEN_MIN: Final = 3


class _Idle(Struct, frozen=True):
    """A connection that nobody uses: the statements that made it act as its last borrower, how often it was lent."""

    connection: asyncpg.Connection
    acts_as: str
    uses: int


class Store:
    """A pool as one role. `connection` and `transaction` raise Unavailable instead of waiting or failing oddly.

    Connections that were given back in good order stay here, above asyncpg's pool, whose ways of lending and taking
    back cost a coroutine of their own each; a lone statement feels that. Each stays whom it acted as: the next who acts
    as the same finds it ready, anybody else's first step is to make it theirs (decision 0051).
    """

    def __init__(self, pool: asyncpg.Pool, size: int, acquire_timeout_s: float) -> None:
        self._pool = pool
        self._places = asyncio.Semaphore(size)
        self._idle: list[_Idle] = []
        self._size, self._held = size, 0  # what we have of asyncpg's pool: lent, idle, or being opened
        self._acquire_timeout_s = acquire_timeout_s

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        size: int,
        application: str,
        acquire_timeout_s: float = 5.0,
        statement_timeout_ms: int = 30_000,
        plans: dict[str, str] | None = None,
        term: int = 0,
    ) -> "Store":
        """Open a pool at `url`; the first connection is made when it is needed, so this does not fail.

        With a `term`, PostgreSQL refuses changes as soon as a later one has begun: StaleEpoch.
        """
        settings = {
            "application_name": application,
            "search_path": "swarmsync",
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": "10000",
            "idle_in_transaction_session_timeout": "15000",
            "timezone": "UTC",
            **(plans or {}),
            **({"swarmsync.term": str(term)} if term else {}),
        }
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=acquire_timeout_s,
            command_timeout=statement_timeout_ms / 1000 + 5,
            max_inactive_connection_lifetime=0,
            server_settings=settings,
            reset=_nothing_to_reset,
        )
        await pool
        return cls(pool, size, acquire_timeout_s)

    async def close(self) -> None:
        try:
            while self._idle:
                await self._give_up(self._idle.pop().connection)
            await asyncio.wait_for(self._pool.close(), 3)
        except (TimeoutError, *_AWAY):
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self, **settings: str) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection with these `settings` (dots as `__`), and beside them what the pool was opened with.

        Raises Unavailable when PostgreSQL is away or all are in use for too long. Whoever borrows it must not SET what
        outlives a transaction.
        """
        acting = _set_all(settings)
        try:
            await self._take_place()
            try:
                connection, acts_as, uses = await self._lend(acting)
                try:
                    if acts_as != acting:
                        await connection.execute(acting)
                    yield connection
                except BaseException:
                    await self._give_up(connection)
                    raise
                if uses < USES_MAX and not _is_lost(connection) and not connection.is_in_transaction():
                    self._idle.append(_Idle(connection, acting, uses + 1))
                else:
                    await self._give_up(connection)
            finally:
                self._places.release()
        except _AWAY as error:
            raise Unavailable(f"PostgreSQL does not answer ({type(error).__name__})") from error
        except asyncpg.DiskFullError as error:
            raise Unavailable("PostgreSQL's disk is full, nothing can be stored; make room on it") from error
        except asyncpg.PostgresError as error:
            if error.sqlstate == ANOTHER_LEADS:
                raise StaleEpoch("another Core leads") from error
            raise

    async def _take_place(self) -> None:
        if self._places.locked():
            async with asyncio.timeout(self._acquire_timeout_s):
                await self._places.acquire()
        else:
            await self._places.acquire()

    async def _lend(self, acting: str) -> tuple[asyncpg.Connection, str, int]:
        """Return a connection that is open as far as one can know, whom it acts as, and how often it was lent.

        The newest that acts as wished, else a new one while there are few, else the one that was not used for longest.
        """
        while self._idle:
            places = range(len(self._idle) - 1, -1, -1)
            place = next((place for place in places if self._idle[place].acts_as == acting), None)
            if place is None and self._held < min(OPEN_MIN, self._size):
                break
            idle = self._idle.pop(place or 0)
            if not _is_lost(idle.connection):
                return idle.connection, idle.acts_as, idle.uses
            await self._give_up(idle.connection)
        self._held += 1
        try:
            return await self._pool.acquire(timeout=self._acquire_timeout_s), "", 0
        except BaseException:
            self._held -= 1
            raise

    async def _give_up(self, connection: asyncpg.Connection) -> None:
        """Leave a connection to asyncpg's pool, which cleans up after whatever it was, or closes it."""
        self._held -= 1
        await self._pool.release(connection)

    @asynccontextmanager
    async def transaction(self, **settings: str) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection inside a transaction, with `settings` as `connection` has them."""
        async with self.connection(**settings) as connection:
            await connection.execute("BEGIN")
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(*_AWAY):
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    async def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]], **settings: str) -> T:
        """Run `work` in one transaction; the whole of it again, up to 5 times, when PostgreSQL asks for that.

        `work` must be repeatable: the commit that failed this way did not happen.
        """
        for attempt in range(TRIES):
            try:
                async with self.transaction(**settings) as connection:
                    return await work(connection)
            except _AGAIN as error:
                await _pause(attempt, error)
        raise AssertionError("unreachable")

    async def change(self, query: str, *values: Any, **settings: str) -> list[asyncpg.Record]:
        """Run one statement, which is a transaction of its own and one round trip; again as `run` does."""
        for attempt in range(TRIES):
            try:
                return await self.fetch(query, *values, **settings)
            except _AGAIN as error:
                await _pause(attempt, error)
        raise AssertionError("unreachable")

    async def fetch(self, query: str, *values: Any, **settings: str) -> list[asyncpg.Record]:
        """Run one statement with these settings, which is a transaction of its own, and one round trip as a rule."""
        async with self.connection(**settings) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(query, *values)
            return rows

    async def fetchrow(self, query: str, *values: Any, **settings: str) -> Any:
        """Return the first row, or None."""
        async with self.connection(**settings) as connection:
            return await connection.fetchrow(query, *values)

    async def stream(self, query: str, *values: Any, rows_at_once: int = 5_000) -> AsyncIterator[asyncpg.Record]:
        """Yield the rows as of one moment, never holding more of them than so many; for what may be millions."""
        async with self.transaction() as connection:
            async for row in connection.cursor(query, *values, prefetch=rows_at_once):
                yield row

    async def fetchval(self, query: str, *values: Any, **settings: str) -> Any:
        async with self.connection(**settings) as connection:
            return await connection.fetchval(query, *values)

    async def execute(self, query: str, *values: Any, **settings: str) -> str:
        async with self.connection(**settings) as connection:
            status: str = await connection.execute(query, *values)
            return status


def _is_lost(connection: asyncpg.Connection) -> bool:
    """Tell whether it has ended; of one that did so while we had it, asyncpg's pool takes everything back at once."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # "released back to the pool"
        return True


def set_local(**settings: str) -> str:
    """Return the statements that set these (dots as `__`) until the transaction ends."""
    return "; ".join(_assignments("SET LOCAL", settings))


def _set_all(settings: Mapping[str, str]) -> str:
    """Return the statements that set these for good, and all else to what it was at first.

    RESET ALL leaves the role as it is (PostgreSQL's manual, RESET). Sent as one message they are one transaction: all
    of them count or none.
    """
    return "; ".join(("RESET ALL", "RESET ROLE", *_assignments("SET", settings)))


def _assignments(verb: str, settings: Mapping[str, str]) -> list[str]:
    names = {key.replace("__", "."): value.replace("'", "''") for key, value in settings.items()}
    return [f"{verb} {name} = '{value}'" for name, value in names.items()]


async def _pause(attempt: int, error: Exception) -> None:
    """Wait before the next try. Raises Unavailable after the last."""
    if attempt == TRIES - 1:
        raise Unavailable("PostgreSQL is too busy with the same rows") from error
    await asyncio.sleep(0.005 * (attempt + 1))


async def _nothing_to_reset(_connection: object) -> None:
    """Do nothing where asyncpg would send RESET ALL: none of our settings outlives its COMMIT."""


def as_login(url: str, username: str, password: str) -> str:
    """Return `url` with another login, for the service roles beside the owner's."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(username, safe='')}:{quote(password, safe='')}@{host}"))
