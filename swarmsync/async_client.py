"""The client library for asyncio: the calls of `client.py`, awaited.

    from swarmsync import AsyncClient

    async with AsyncClient() as core:
        jobs = [await core.start("alpine:3.20", ["sleep", "1"]) for _ in range(100)]
        await asyncio.gather(*(job.wait() for job in jobs))

One client serves one event loop and any number of its coroutines; it keeps at most `connections` connections.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, Self

from swarmsync import calls
from swarmsync.async_connection import AsyncConnection
from swarmsync.calls import (
    FINAL_STATES,
    Command,
    Document,
    Inputs,
    Job,
    Verb,
    job_path,
)
from swarmsync.client import FOLLOW_PATIENCE_S, Completed
from swarmsync.errors import JobFailed, Unavailable
from swarmsync.events import EVENTS_END, EventReader, resume_headers
from swarmsync.follow import BROKE_OFF, Following, LogChunk, LogEnd, Patience, read_piece, verdict_of
from swarmsync.wire import Filters

CONNECT_S: Final = 10.0
BLOCK: Final = 1 << 16


class AsyncClient(AsyncConnection):
    """Speaks to one Core as one user."""

    # --- containers -----------------------------------------------------------------------------------------------

    async def login(self, username: str, password: str) -> Document:
        """Return `{token, expires_at}` and use the token from here on."""
        answer = await self._do(calls.login(username, password))
        self._token = answer["token"]
        return answer

    async def start(self, image: str, command: Command = None, **fields: Any) -> "AsyncRunningJob":
        """Submit one container and return at once; `fields` are those of the job spec, such as `resources`."""
        return AsyncRunningJob(self, await self.submit(calls.spec_of(image, command, fields)))

    async def run(
        self, image: str, command: Command = None, *, check: bool = True, wait_s: float | None = None, **fields: Any
    ) -> Completed:
        """As `Client.run`."""
        job = await self.submit(calls.spec_of(image, command, fields))
        done = await self._completed(job["id"], wait_s)
        return done.check() if check else done

    async def map(
        self,
        image: str,
        command: Command,
        inputs: Inputs,
        *,
        check: bool = True,
        wait_s: float | None = None,
        **fields: Any,
    ) -> AsyncIterator[Completed]:
        """As `Client.map`."""
        if not inputs:
            return
        specs = calls.specs_over(image, command, inputs, fields)
        ids = [(await self.submit(specs[0]))["id"]] if isinstance(inputs, int) else await self.submit_many(specs)
        for job_id in calls.ids_over(ids, inputs):
            done = await self._completed(job_id, wait_s)
            yield done.check() if check else done

    async def _completed(self, job_id: str, wait_s: float | None) -> Completed:
        job = await self.wait(job_id, timeout_s=wait_s)
        written = [await self._do(calls.output_of(job_id, "stdout")), await self._do(calls.output_of(job_id, "stderr"))]
        return Completed(job, *written)

    # --- jobs -----------------------------------------------------------------------------------------------------

    async def submit(self, spec: Document, *, key: str = "") -> Job:
        """As `Client.submit`."""
        return await self._do(calls.submit(spec, key))

    async def submit_many(self, specs: Sequence[Document], *, key: str = "") -> list[str]:
        """Submit up to 10,000 jobs, all or none; returns their ids in order."""
        ids: list[str] = (await self._do(calls.submit_many(specs, key)))["ids"]
        return ids

    async def plan(self, spec: Document) -> Document:
        return await self._do(calls.plan(spec))

    async def validate(self, spec: Document) -> Document:
        return await self._do(calls.validate(spec))

    def jobs(self, filters: Filters | None = None, *, limit: int | None = None) -> AsyncIterator[Document]:
        """Yield jobs, newest first; `filters` are those of the API, such as `{"state": "running", "label": "a=b"}`."""
        return self.items("/v1/jobs", filters, limit=limit)

    async def job(self, job_id: str, *, wait_s: int = 0) -> Job:
        """Return one job; with `wait_s` when it is final, or as it is after that long (60 at most)."""
        return await self._do(calls.job(job_id, wait_s))

    async def attach(self, job_id: str) -> "AsyncRunningJob":
        """Return a job that was submitted elsewhere."""
        return AsyncRunningJob(self, await self.job(job_id))

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return the job when it is final. Raises WaitTimeout, which is a TimeoutError; the job goes on."""
        return await self._run(calls.wait(job_id, timeout_s, self._manner))

    async def result(self, job_id: str) -> Document:
        return await self._do(calls.part(job_id, "result"))

    async def why(self, job_id: str) -> Document:
        return await self._do(calls.part(job_id, "why"))

    async def logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        stream: Literal["stdout", "stderr", "both"] = "both",
        tail: int | None = None,
        patience_s: float = FOLLOW_PATIENCE_S,
    ) -> AsyncIterator[LogChunk]:
        """Yield what the job wrote, piece by piece; with `follow` until it ends, over restarts of Core."""
        query = {"stream": stream, "tail": tail}
        if follow:
            async for chunk in self._followed(job_id, query, patience_s):
                yield chunk
            return
        async for line in self.lines(job_path(job_id, "logs"), {**query, "format": "jsonl"}):
            piece = read_piece(line)
            if isinstance(piece, LogChunk):
                yield piece

    async def _followed(self, job_id: str, query: Filters, patience_s: float) -> AsyncIterator[LogChunk]:
        state = Following(query, patience_s)
        while True:
            failure = BROKE_OFF
            try:
                path = job_path(job_id, "logs")
                async for line in self.lines(path, state.query(), on_open=state.patience.opened):
                    piece = state.take(line)
                    if isinstance(piece, LogEnd):
                        return
                    if piece is not None:
                        yield piece
                if state.ended_early() and verdict_of(await self.job(job_id)) is not None:
                    return
            except Unavailable as error:
                failure = error
            await asyncio.sleep(state.patience.broken(failure))

    async def events(
        self, *, job: str = "", last_id: str = "", patience_s: float = FOLLOW_PATIENCE_S
    ) -> AsyncIterator[Document]:
        """Yield every change of a job's state from now on, or from after the event `last_id`; never ends by itself."""
        patience = Patience(patience_s)
        while True:
            failure, reader = EVENTS_END, EventReader()
            try:
                headers = resume_headers(last_id)
                async for line in self.lines("/v1/events", {"job": job}, headers, on_open=patience.opened):
                    event = reader.take(line)
                    if event is not None:
                        last_id = event[0] or last_id
                        patience.good()
                        yield event[1]
            except Unavailable as error:
                failure = error
            await asyncio.sleep(patience.broken(failure))

    async def act(self, job_id: str, verb: Verb, body: Document | None = None) -> Job:
        return await self._do(calls.act(job_id, verb, body))

    async def cancel(self, job_id: str, reason: str = "") -> Job:
        return await self._do(calls.cancel(job_id, reason))

    async def rerun(self, job_id: str, *, failed: bool = False) -> Job:
        """As `Client.rerun`."""
        return await self._do(calls.rerun(job_id, failed=failed))

    async def update(self, job_id: str, changes: Document) -> Job:
        return await self._do(calls.update(job_id, changes))

    async def delete(self, job_id: str) -> None:
        await self._do(calls.delete(job_id))

    def workers(self) -> AsyncIterator[Document]:
        return self.items("/v1/workers")

    def schedules(self, filters: Filters | None = None) -> AsyncIterator[Document]:
        return self.items("/v1/schedules", filters)

    async def create_schedule(self, name: str, cron: str, spec: Document, **fields: Any) -> Document:
        """As `Client.create_schedule`."""
        return await self._do(calls.create_schedule(name, cron, spec, fields))

    async def stats(self) -> Document:
        return await self._do(calls.stats())


class AsyncRunningJob:
    """A job and the client that asks for it. `document` is the job as it was last seen."""

    def __init__(self, client: AsyncClient, document: Job) -> None:
        self._client = client
        self.document = document
        self.id = document["id"]

    def __repr__(self) -> str:
        return f"<job {self.id} {self.state}>"

    @property
    def state(self) -> str:
        return self.document["state"]

    @property
    def is_over(self) -> bool:
        return self.state in FINAL_STATES

    async def refresh(self) -> Self:
        self.document = await self._client.job(self.id)
        return self

    async def wait(self, timeout_s: float | None = None, *, check: bool = False) -> Self:
        """Return when the job has ended. Raises WaitTimeout, and with `check` JobFailed unless it succeeded."""
        self.document = await self._client.wait(self.id, timeout_s=timeout_s)
        if check and self.state != "succeeded":
            raise JobFailed(dict(self.document))
        return self

    async def result(self) -> Document:
        return await self._client.result(self.id)

    async def why(self) -> Document:
        return await self._client.why(self.id)

    def logs(
        self, *, follow: bool = True, stream: Literal["stdout", "stderr", "both"] = "both"
    ) -> AsyncIterator[LogChunk]:
        """Yield what it writes until it ends."""
        return self._client.logs(self.id, follow=follow, stream=stream)

    async def cancel(self, reason: str = "") -> Self:
        self.document = await self._client.cancel(self.id, reason)
        return self

    async def kill(self) -> Self:
        self.document = await self._client.act(self.id, "kill")
        return self

    async def rerun(self) -> "AsyncRunningJob":
        """Submit it again; the new job is another one."""
        return AsyncRunningJob(self._client, await self._client.rerun(self.id))
