"""How often somebody may try to log in: by account, by address, and a count in PostgreSQL that outlives Redis.

By account: five free failures, then delays of 1, 2, 4 ... 900 s, and at 100 in a row no password is looked at until an
administrator sets a new one or the owner has logged in by key. Names that nobody has are treated alike. From
KEPT_FROM on the count is written to PostgreSQL before the password is checked, so that emptying Redis gives nobody
fresh tries.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from swarmsync.store.pool import Store
from swarmsync.store.sessions import answering

FREE_FAILURES: Final = 5
DELAY_MAX_S: Final = 900
KEPT_FROM: Final = 20
FAILURES_MAX: Final = 100
_MEMORY_S: Final = 86_400  # failures are forgotten a day after the last one, unless they reached FAILURES_MAX

#: One round trip: refuse while a delay runs, else count this try as failed (`forget` takes it back) and set the next
#: delay. Two guesses at the same time therefore count as two. Answers {wait in ms, failures}; -1 is for good.
_TRY: Final = """
local failures = tonumber(redis.call('GET', KEYS[1]) or '0')
local kept, kept_wait = tonumber(ARGV[4]), tonumber(ARGV[5])
if failures < kept then
  failures = kept
  redis.call('SET', KEYS[1], failures, 'EX', ARGV[2])
  if kept_wait > 0 then redis.call('SET', KEYS[2], '1', 'PX', kept_wait) end
end
if failures >= tonumber(ARGV[6]) then return {-1, failures} end
local left = redis.call('PTTL', KEYS[2])
if left > 0 then return {left, failures} end
failures = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
if failures > tonumber(ARGV[1]) then
  local delay = math.min(2 ^ (failures - ARGV[1] - 1), tonumber(ARGV[3]))
  redis.call('SET', KEYS[2], '1', 'PX', math.floor(delay * 1000))
end
return {0, failures}
"""
#: A bucket of `burst` tries that fills by one every `interval` ms, as one time stamp. Answers the wait in ms.
_BUCKET: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = full_at - (burst - 1) * interval - now
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', full_at + interval), 'PX', burst * interval + 1000)
return 0
"""


class Kept(Struct, frozen=True):
    """What PostgreSQL knows of failures with one name."""

    failures: int = 0
    wait_ms: int = 0  # of the last delay, what is left


class Verdict(Struct, frozen=True):
    """`wait_ms` is 0 where the password may be checked, and None where waiting does not help."""

    wait_ms: int | None
    failures: int


def delay_s(failures: int) -> int:
    """Return how long nothing is tried after so many failures in a row."""
    over = failures - FREE_FAILURES
    return 0 if over <= 0 else min(1 << min(over - 1, 20), DELAY_MAX_S)


def kept(failures: int, failed_at: datetime, now: datetime) -> Kept:
    """Read a row of login_failures as of `now`."""
    since = max(timedelta(0), now - failed_at)
    if failures < FAILURES_MAX and since > timedelta(seconds=_MEMORY_S):
        return Kept()
    left = timedelta(seconds=delay_s(failures)) - since
    return Kept(failures, max(0, int(left / timedelta(milliseconds=1))))


class Throttle:
    def __init__(self, redis: Any, store: Store) -> None:
        self._redis = redis
        self._store = store

    async def try_account(self, username: str) -> Verdict:
        """Note a try to log in as `username`; the count is durable before this returns. Raises Unavailable."""
        known = await self._kept(username)
        with answering():
            wait_ms, failures = await self._redis.eval(
                _TRY,
                2,
                *_keys(username),
                FREE_FAILURES,
                _MEMORY_S,
                DELAY_MAX_S,
                known.failures,
                known.wait_ms,
                FAILURES_MAX,
            )
        if wait_ms == 0 and failures >= KEPT_FROM:
            await self._keep(username, failures)
        return Verdict(None if wait_ms < 0 else wait_ms, failures)

    async def forget(self, username: str) -> None:
        """Count from zero again: the owner was there, or an administrator set a new password."""
        await self._store.execute("DELETE FROM login_failures WHERE name_sha256 = $1", _digest(username))
        with answering():
            await self._redis.delete(*_keys(username))

    async def try_address(self, kind: str, address: str, *, burst: int, interval_ms: int) -> int:
        """Take one of the tries of an address; returns the milliseconds to wait where there is none."""
        with answering():
            key = f"swarmsync:tries:{kind}:{_digest(address).hex()[:32]}"
            return int(await self._redis.eval(_BUCKET, 1, key, interval_ms, burst))

    async def _kept(self, username: str) -> Kept:
        query = "SELECT failures, failed_at FROM login_failures WHERE name_sha256 = $1"
        async with self._store.connection() as connection:
            row = await connection.fetchrow(query, _digest(username))
        return Kept() if row is None else kept(row["failures"], row["failed_at"], datetime.now(UTC))

    async def _keep(self, username: str, failures: int) -> None:
        async with self._store.transaction() as connection:
            await connection.execute(
                "DELETE FROM login_failures WHERE failures < $1 AND failed_at < clock_timestamp() - interval '1 day'",
                FAILURES_MAX,
            )
            await connection.execute(
                "INSERT INTO login_failures AS l (name_sha256, failures) VALUES ($1, $2) ON CONFLICT (name_sha256)"
                " DO UPDATE SET failures = GREATEST(l.failures, $2), failed_at = clock_timestamp()",
                _digest(username),
                failures,
            )


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _keys(username: str) -> tuple[str, str]:
    name = _digest(username).hex()[:32]
    return f"swarmsync:throttle:{{{name}}}:failures", f"swarmsync:throttle:{{{name}}}:delay"
