"""Nobody acts as somebody else: callers of all kinds share few connections while some are stopped, fail or are cut off."""

import asyncio
import random

import asyncpg
import pytest

from swarmsync.errors import Unavailable
from swarmsync.store.pool import Store

pytestmark = pytest.mark.integration

ROLES = ("swarmsync_member", "swarmsync_operator", "swarmsync_admin")
SEEN = (
    "SELECT current_user::text, coalesce(current_setting('swarmsync.user_id', true), ''),"
    " current_setting('search_path'), current_setting('work_mem') = '1MB', 60 / $1::int"
)


class Crowd:
    """Callers who each look whom they act as, in every way that a store offers."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.looks = 0

    def somebody(self) -> tuple[dict[str, str], tuple[str, str, str, bool, int]]:
        number = self.chance.randrange(8)
        if number == 0:
            return {}, ("swarmsync_api", "", "swarmsync", False, 60)
        role, plain = ROLES[number % 3], number % 2 == 0
        acting = {"role": role, "swarmsync__user_id": str(number)} | ({} if plain else {"work_mem": "1MB"})
        return acting, (role, str(number), "swarmsync", not plain, 60)

    async def look(self, connection, wanted, *, divisor=1):
        row = await connection.fetchrow(SEEN, divisor)
        assert tuple(row) == wanted
        self.looks += 1

    async def call(self):
        acting, wanted = self.somebody()
        way = self.chance.randrange(7)
        if way == 0:
            assert tuple(await self.store.fetchrow(SEEN, 1, **acting)) == wanted
        elif way == 1:
            await self.store.run(lambda c: self.look(c, wanted), **acting)
        elif way == 2:
            async with self.store.connection(**acting) as connection:
                assert not connection.is_in_transaction()
                await self.look(connection, wanted)
                await self.look(connection, wanted)
        elif way == 3:
            async with self.store.transaction(**acting) as connection:
                await connection.execute("SET LOCAL ROLE NONE; SET LOCAL swarmsync.user_id = '99'")
        elif way == 4:
            async with self.store.transaction(**acting) as connection:
                await self.look(connection, wanted)
                await self.look(connection, wanted, divisor=0)
        elif way == 5:
            await self.store.execute("SELECT pg_sleep(0.01)", **acting)
        else:
            async with self.store.connection(**acting) as connection:
                await connection.execute("BEGIN")
                await self.look(connection, wanted)  # and it is given back like that

    async def stopped(self):
        """One call, which somebody may stop at any step."""
        running = asyncio.create_task(self.call())
        if self.chance.random() < 0.4:
            for _ in range(self.chance.randrange(30)):
                await asyncio.sleep(0)
            running.cancel()
        try:
            await running
        except (asyncio.CancelledError, Unavailable, asyncpg.DivisionByZeroError):
            return


@pytest.mark.parametrize("size", [1, 2, 4])
async def test_nobody_acts_as_somebody_else_whatever_happens_to_those_before(servers, size):
    store = await Store.open(servers.api_url, size=size, application=f"acting-{size}", acquire_timeout_s=60)
    owner = await asyncpg.connect(servers.database_url)
    crowd = Crowd(store, size)

    async def calls():
        for _ in range(25):
            await crowd.stopped()

    async def cut():
        for _ in range(8):
            await store.fetchval("SELECT 1")
            await owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 LIMIT 1",
                f"acting-{size}",
            )
            await asyncio.sleep(0)

    try:
        done = await asyncio.gather(*(calls() for _ in range(12)), cut(), return_exceptions=True)
        assert [problem for problem in done if problem is not None and not isinstance(problem, Unavailable)] == []
        assert crowd.looks > 50
        for _ in range(2 * size):  # none is lost, none stays somebody
            assert await store.fetchval("SELECT current_user::text") == "swarmsync_api"
    finally:
        await owner.close()
        await store.close()


async def test_what_somebody_set_for_good_reaches_nobody_else(servers):
    store = await Store.open(servers.api_url, size=1, application="acting-for-good")
    me, other = ({"role": "swarmsync_member", "swarmsync__user_id": number} for number in "12")
    lie = "SELECT set_config('swarmsync.user_id', '3', false), set_config('role', 'swarmsync_admin', false)"
    try:
        for acting, wanted in ((other, ("swarmsync_member", "2")), ({}, ("swarmsync_api", ""))):
            await store.fetchrow(lie, **me)
            assert tuple(await store.fetchrow(SEEN, 1, **acting))[:2] == wanted
    finally:
        await store.close()
