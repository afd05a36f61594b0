"""Sessions in Redis, and what is remembered for a minute only. Emptying it logs everybody out and loses nothing else.

A session is found by the SHA-256 of its token only. While Redis is away, Unavailable is raised: nobody gets in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from swarmsync.errors import Unavailable
from swarmsync.store.users import User, new_token

#: One user's sessions; the one that would end first makes room for another.
SESSIONS_MAX: Final = 100
_CLIENT_MAX: Final = 100


class Session(Struct, frozen=True):
    user_id: int
    epoch: int
    expires_at: datetime
    began_at: datetime | None = None
    how: Literal["password", "key"] = "password"
    address: str = ""
    client: str = ""


class OpenSession(Struct, frozen=True):
    digest: bytes
    session: Session

    @property
    def session_id(self) -> str:
        """What people call it by; nobody gets in with it."""
        return session_id(self.digest)


def session_id(digest: bytes) -> str:
    return digest.hex()[:16]


@contextmanager
def answering() -> Iterator[None]:
    """Turn what Redis raises while it is away into Unavailable."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Redis does not answer ({type(error).__name__})") from error


def open_redis(url: str) -> Redis:
    """Make a client with bounded waits, also for one of its connections; nothing is connected yet."""
    pool = BlockingConnectionPool.from_url(
        url,
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1),
        max_connections=64,
        timeout=2,
        health_check_interval=15,
    )
    return Redis.from_pool(pool)


class Sessions:
    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def create(
        self, user: User, hours: int, *, how: Literal["password", "key"], address: str = "", client: str = ""
    ) -> tuple[str, datetime]:
        """Begin a session; returns its token, which is nowhere stored, and its end."""
        token, digest = new_token("s")
        now = datetime.now(UTC)
        session = Session(
            user.user_id,
            user.session_epoch,
            now + timedelta(hours=hours),
            began_at=now,
            how=how,
            address=address,
            client=client[:_CLIENT_MAX],
        )
        mine = _mine(user.user_id)
        with answering():
            await self._redis.set(_key(digest), msgspec.json.encode(session), ex=hours * 3600)
            await self._redis.zadd(mine, {digest.hex(): session.expires_at.timestamp()})
            await self._redis.zremrangebyscore(mine, "-inf", now.timestamp())
            await self._redis.expire(mine, hours * 3600)
            over = await self._redis.zcard(mine) - SESSIONS_MAX
            for name, _ in await self._redis.zpopmin(mine, over) if over > 0 else ():
                await self._redis.delete(_key(bytes.fromhex(name.decode())))
        return token, session.expires_at

    async def find(self, digest: bytes) -> Session | None:
        with answering():
            found = await self._redis.get(_key(digest))
        return None if found is None else msgspec.json.decode(found, type=Session)

    async def of_user(self, user_id: int, epoch: int) -> list[OpenSession]:
        """Return the user's sessions that are not void, those that end last first."""
        with answering():
            names = await self._redis.zrevrange(_mine(user_id), 0, SESSIONS_MAX)
        found = []
        for name in names:
            digest = bytes.fromhex(name.decode())
            session = await self.find(digest)
            if session is not None and session.user_id == user_id and session.epoch == epoch:
                found.append(OpenSession(digest, session))
        return found

    async def end(self, digest: bytes, user_id: int) -> None:
        with answering():
            await self._redis.delete(_key(digest))
            await self._redis.zrem(_mine(user_id), digest.hex())

    async def put_once(self, name: str, content: bytes, seconds: int) -> None:
        """Remember something that is taken once."""
        with answering():
            await self._redis.set(f"swarmsync:once:{name}", content, ex=seconds)

    async def take_once(self, name: str) -> bytes | None:
        """Take it: of any number of callers at the same time one gets it."""
        with answering():
            found: bytes | None = await self._redis.getdel(f"swarmsync:once:{name}")
        return found

    async def ping(self) -> None:
        with answering():
            await self._redis.ping()


def _key(digest: bytes) -> str:
    return f"swarmsync:session:{digest.hex()}"


def _mine(user_id: int) -> str:
    return f"swarmsync:sessions-of:{user_id}"
