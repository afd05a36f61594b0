"""The API in this process against the embedded servers, people with tokens, and hands that play the engine."""

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import asyncpg
import msgspec
import pytest
from falcon.testing import ASGIConductor, create_scope
from msgspec import Struct

from api.app import create_app
from api.config import ApiConfig
from swarmsync import ids
from swarmsync.bus import Bus
from swarmsync.ids import IdSource
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import Changed
from swarmsync.store import users
from tests.published import Published

PASSWORD = "correct horse battery"


class Person(Struct, frozen=True):
    user_id: int
    username: str
    token: str


class People(Struct, frozen=True):
    ann: Person
    bob: Person
    oscar: Person  # an operator
    ada: Person  # an administrator


IDS = IdSource(1023, lambda: time.time_ns() // 1_000_000)


async def as_engine(servers: Any) -> asyncpg.Connection:
    return await asyncpg.connect(servers.engine_url, server_settings={"search_path": "swarmsync"})


@pytest.fixture(scope="session")
def people(servers) -> People:
    async def make() -> People:
        connection = await as_engine(servers)
        made = {}
        for name, role in (("ann", "user"), ("bob", "user"), ("oscar", "operator"), ("ada", "admin")):
            user_id = await users.create_user(connection, IDS.next(), name, password=PASSWORD, role=role)
            token, _ = await users.create_token(connection, IDS.next(), user_id, "tests", days=100)
            made[name] = Person(user_id, name, token)
        await connection.close()
        return People(**made)

    return asyncio.run(make())


class Answer(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def wrong_paths(self) -> list[str]:
        return [error["path"] for error in self.json.get("errors", [])]


class LiveAnswer:
    """A response that is still being made."""

    running: asyncio.Task[None]

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.begun = asyncio.Event()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(self, message: dict[str, Any]) -> None:
        """The application's `send`."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self.begun.set()
            return
        if message.get("body"):
            self._pieces.put_nowait(message["body"])
        if not message.get("more_body", False):
            self._pieces.put_nowait(b"")

    async def read_some(self) -> bytes:
        """Return the next piece, empty at the end."""
        return await self._pieces.get()

    async def finished(self) -> None:
        """Return when the application has nothing more to say; raises what it raised."""
        async with asyncio.timeout(60):
            await asyncio.shield(self.running)

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self._all()])

    async def _all(self) -> AsyncIterator[bytes]:
        while piece := await self.read_some():
            yield piece

    async def lines(self) -> AsyncIterator[Any]:
        """Yield the JSON lines as they come."""
        rest = b""
        async for piece in self._all():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if line.strip():
                    yield json.loads(line)


@functools.cache
def published(document: bytes) -> Published:
    return Published(document)


class Api:
    """Requests to the application as one person; the client stays until it has the answer."""

    def __init__(self, app: Any, token: str, address: str = "127.0.0.1") -> None:
        self._app = app
        self.token = token
        self.address = address
        self.life_span = app.life_span

    def by(self, person: Person | str) -> "Api":
        return Api(self._app, person if isinstance(person, str) else person.token)

    def at(self, address: str) -> "Api":
        """The same from another address."""
        return Api(self._app, self.token, address)

    @asynccontextmanager
    async def stream(
        self, target: str, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> AsyncIterator[LiveAnswer]:
        path, _, query = target.partition("?")
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        scope = create_scope(
            unquote(path), query_string=query, method=method, headers=sent | (headers or {}), remote_addr=self.address
        )
        parts, gone = [body], asyncio.Event()

        async def receive() -> dict[str, Any]:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        answer = LiveAnswer()
        answer.running = running = asyncio.create_task(self._app(scope, receive, answer.take))
        beginning = asyncio.create_task(answer.begun.wait())
        try:
            await asyncio.wait((running, beginning), return_when=asyncio.FIRST_COMPLETED)
            yield answer
        finally:
            beginning.cancel()
            gone.set()
            async with asyncio.timeout(60):
                await running

    async def call(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        content = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        sent: dict[str, Any] = {} if content is None else {"Content-Type": "application/json"}
        sent |= {"Content-Length": str(len(content))} if content is not None else {}
        given = {name: value for name, value in (sent | (headers or {})).items() if value is not None}
        async with self.stream(target, method, content or b"", given) as answer:
            whole = await answer.read()
        description, _, _, _ = self._app._router.find("/v1/openapi.json")
        media = answer.headers.get("content-type", "")
        wrong = published(description.document).wrong_answer(method, target, answer.status, media, whole)
        assert not wrong, wrong
        return Answer(answer.status, answer.headers, whole)

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.call("GET", target, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def post(self, target: str, body: Any = None, **headers: str) -> Answer:
        return await self.call("POST", target, body, {k.replace("_", "-"): v for k, v in headers.items()})

    async def submit(self, **spec: Any) -> Any:
        answer = await self.post("/v1/jobs", {"image": "alpine:3.20", **spec})
        assert answer.status == 201, answer.text
        return answer.json


@pytest.fixture
async def start_api(servers) -> AsyncIterator[Callable[..., Awaitable[Api]]]:
    """Start one more application, as another process of the API would be; keywords change its configuration."""
    async with AsyncExitStack() as stack:

        async def start(**more: Any) -> Api:
            urls = {
                "api_database_url": servers.api_url,
                "nats_url": servers.nats_api_url,
                "redis_url": servers.redis_url,
                "tries_per_address": 100_000,  # all tests come from one address
            }
            app = create_app(ApiConfig(**{**urls, **more}))
            await stack.enter_async_context(ASGIConductor(app))
            return Api(app, "")

        yield start


@pytest.fixture
async def anonymous(start_api, people) -> Api:
    return await start_api(server_id="tests")


@pytest.fixture
def ann(anonymous, people) -> Api:
    return anonymous.by(people.ann)


@pytest.fixture
def bob(anonymous, people) -> Api:
    return anonymous.by(people.bob)


@pytest.fixture
def oscar(anonymous, people) -> Api:
    return anonymous.by(people.oscar)


@pytest.fixture
def ada(anonymous, people) -> Api:
    return anonymous.by(people.ada)


class Engine:
    """What the engine does to rows, by hand."""

    def __init__(self, connection: asyncpg.Connection, bus: Bus) -> None:
        self.sql = connection
        self.bus = bus

    async def worker(self, name: str = "w1") -> int:
        await self.sql.execute(
            "INSERT INTO workers (id, name, cpus_milli, memory_bytes, labels, liveness)"
            " VALUES ($1, $2, 4000, 8589934592, $3, 'ready') ON CONFLICT (name) DO UPDATE SET eligibility = 'open'",
            IDS.next(),
            name,
            '{"zone": "eu"}',
        )
        return await self.sql.fetchval("SELECT id FROM workers WHERE name = $1", name)

    async def starts(self, job: str, worker: str = "w1") -> None:
        """The next attempt of the job runs."""
        await self.sql.execute(
            "UPDATE jobs SET state = 'running', reason = '', message = '', fence = fence + 1, worker_id = $2,"
            " assignment_state = 'running', offered_at = now(), started_at = now(), since = now() WHERE id = $1",
            ids.decode(job),
            await self.worker(worker),
        )
        await self.hint(job)

    async def fails_once(self, job: str) -> None:
        """The running attempt ends and the job is queued again."""
        await self.sql.execute(
            "WITH won AS (UPDATE jobs SET state = 'queued', assignment_state = NULL, started_at = NULL WHERE id = $1"
            " RETURNING *)"
            " INSERT INTO assignments (job_id, fence, user_id, worker_id, state, outcome, reason, exit_code)"
            " SELECT id, fence, user_id, worker_id, 'ended', 'failed', 'ExitCode', 1 FROM won",
            ids.decode(job),
        )
        await self.hint(job)

    async def ends(self, job: str, state: str = "succeeded", exit_code: int | None = 0, result: Any = None) -> None:
        await self.sql.execute(
            "UPDATE jobs SET state = $2, reason = 'Completed', message = 'exit code 0', assignment_state = NULL,"
            " finished_at = clock_timestamp(), exit_code = $3, result = $4, since = now() WHERE id = $1",
            ids.decode(job),
            state,
            exit_code,
            json.dumps(result) if result is not None else None,
        )
        await self.hint(job)

    async def writes(self, job: str, data: bytes, *, stream: int = 1, fence: int = 1, start: int | None = None) -> None:
        """Output of an attempt arrives, behind what there is of its stream."""
        job_id = ids.decode(job)
        if start is None:
            start = await self.sql.fetchval(
                "SELECT COALESCE(max(start + length(data)), 0) FROM output_chunks"
                " WHERE job_id = $1 AND fence = $2 AND stream = $3",
                job_id,
                fence,
                stream,
            )
        await self.sql.execute(
            "INSERT INTO output_chunks (job_id, user_id, fence, stream, start, at, data)"
            " SELECT $1, user_id, $2, $3, $4, $5, $6 FROM jobs WHERE id = $1",
            job_id,
            fence,
            stream,
            start,
            datetime.now(UTC),
            data,
        )
        await self.bus.publish(subjects.stored(job_id), b"")
        await self.bus.flush()

    async def hint(self, job: str) -> None:
        await self.bus.publish(subjects.CHANGED, codec.encode(Changed((ids.decode(job),))))
        await self.bus.flush()


@pytest.fixture
async def engine(servers) -> AsyncIterator[Engine]:
    connection = await as_engine(servers)
    bus = await Bus.connect(servers.nats_url, "tests")
    yield Engine(connection, bus)
    await bus.close()
    await connection.close()


@pytest.fixture
def new_id() -> Callable[[], int]:
    return IDS.next


@pytest.fixture
def fresh_name() -> str:
    """A name that no other test uses, to find one's own rows by."""
    return f"t{time.time_ns():x}"
