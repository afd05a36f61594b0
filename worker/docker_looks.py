"""Looking at containers: requests that may be repeated, and a memory of what an inspection showed.

An inspection costs the worker a millisecond and the engine more. One that shows an exit is final and is kept until the
container is forgotten; one that shows a running container is kept for its start time, which `list` needs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from worker import docker_config, docker_errors
from worker.container_runtime import NO_EXIT_CODE, Exit, Observed, Seen
from worker.docker_engine import CALL_TIMEOUT_S, Answer, DockerEngine, EngineAway

TRIES_MAX: Final = 3
PAUSE_MIN_S: Final = 0.1
INSPECTIONS_AT_ONCE: Final = 8
GONE: Final = Exit(NO_EXIT_CODE, removed=True)


class DockerLooks:
    """`names` maps the ids of all containers of ours that were created or listed here to their names."""

    def __init__(self, engine: DockerEngine, pause: Callable[[float], Awaitable[None]]) -> None:
        self._engine = engine
        self._pause = pause
        self.names: dict[str, str] = {}
        self._known: dict[str, tuple[Seen, Exit]] = {}
        self._looks: dict[str, asyncio.Task[tuple[Seen, Exit]]] = {}
        self._slots = asyncio.Semaphore(INSPECTIONS_AT_ONCE)

    async def close(self) -> None:
        looks = [*self._looks.values()]
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def forget(self, container_id: str) -> str | None:
        """Return the name it had, where that is known."""
        self._known.pop(container_id, None)
        return self.names.pop(container_id, None)

    def has_exited(self, container_id: str) -> bool:
        """Whether an inspection has shown its end already."""
        known = self._known.get(container_id)
        return known is not None and known[0] is Seen.EXITED

    async def look(self, container_id: str) -> tuple[Seen, Exit]:
        """Inspect; callers at the same time share one answer, and an exit is asked for once."""
        known = self._known.get(container_id)
        if known is not None and known[0] is Seen.EXITED:
            return known
        look = self._looks.get(container_id)
        if look is None:
            look = self._looks[container_id] = asyncio.create_task(self._inspect(container_id))
            look.add_done_callback(lambda done: self._looked(container_id, done))
        return await asyncio.shield(look)

    def _looked(self, container_id: str, task: asyncio.Task[tuple[Seen, Exit]]) -> None:
        del self._looks[container_id]
        if not task.cancelled() and task.exception() is None:
            self._known.pop(container_id, None)
            if task.result()[0] in (Seen.RUNNING, Seen.EXITED):
                self._known[container_id] = task.result()

    async def _inspect(self, container_id: str) -> tuple[Seen, Exit]:
        answer = await self.ask("inspect a container", "GET", f"/containers/{container_id}/json")
        if answer.status == 404:
            return Seen.ABSENT, GONE
        expect_ok(answer, "inspect a container")
        state = answer.document["State"]
        return docker_config.seen_of(state["Status"]), docker_config.exit_of(state)

    async def ask(
        self,
        doing: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Answer:
        """Make a request that may be repeated: a few times when no answer comes or the engine has trouble (5xx)."""
        cause: Answer | None = None
        for attempt in range(1, TRIES_MAX + 1):
            try:
                cause = await self._engine.call(method, path, query, timeout_s=timeout_s)
                if cause.status < 500:
                    return cause
            except EngineAway as away:
                if attempt == TRIES_MAX:
                    raise docker_errors.engine_away(doing, str(away)) from None
            await self._pause(PAUSE_MIN_S * attempt)
        assert cause is not None
        return cause

    async def list(self, owner: str) -> list[Observed]:
        """As ContainerRuntime.list; with an `owner`, its containers only."""
        label = f"{docker_config.LABEL_OWNER}={owner}" if owner else docker_config.LABEL_JOB
        query = {"all": "1", "filters": msgspec.json.encode({"label": [label]}).decode()}
        answer = await self.ask("list containers", "GET", "/containers/json", query)
        expect_ok(answer, "list containers")
        shown = {entry["Id"]: entry for entry in answer.document}
        for container_id, entry in shown.items():
            self.names.setdefault(container_id, entry["Names"][0].removeprefix("/"))
        looks = await asyncio.gather(*(self._observe(container_id, entry) for container_id, entry in shown.items()))
        return [observed for observed in looks if observed is not None]

    async def _observe(self, container_id: str, entry: Mapping[str, Any]) -> Observed | None:
        known = self._known.get(container_id)
        listed = docker_config.seen_of(entry["State"])
        if known is not None and known[0] is listed:
            seen, looked = known
        else:
            async with self._slots:
                seen, looked = await self.look(container_id)
        if seen is Seen.ABSENT:
            return None
        return docker_config.observed_of(container_id, entry["Labels"], seen, looked)


def expect_ok(answer: Answer | None, doing: str) -> None:
    if answer is not None and not answer.ok:
        raise docker_errors.engine_problem(doing, answer.status, answer.message)
