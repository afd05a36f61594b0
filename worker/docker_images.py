"""Images of one engine: found locally, else pulled, once per image however many jobs ask."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import ImageRef, RegistryAuth, RuntimeProblem
from worker.docker_config import auth_header, image_path, pull_query
from worker.docker_engine import DockerEngine, EngineAway
from worker.docker_errors import engine_away, engine_problem, pull_problem

PULL_ATTEMPTS_MAX: Final = 4
PULL_PAUSE_S: Final = 1.0  # doubled after each attempt
#: Docker writes progress every few hundred milliseconds, also while it unpacks.
PULL_SILENCE_S: Final = 300.0
#: For this long an image that was here is not looked for again; `create` says so if it went away meanwhile.
FRESH_S: Final = 5.0


class DockerImages:
    """`pause` sleeps between attempts; tests replace it."""

    def __init__(self, engine: DockerEngine, pause: Callable[[float], Awaitable[None]]) -> None:
        self._engine = engine
        self._pause = pause
        self._fresh: dict[str, tuple[float, ImageRef]] = {}
        self._fetches: dict[tuple[str, RegistryAuth | None], asyncio.Task[ImageRef]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, image: str, auth: RegistryAuth | None) -> ImageRef:
        """As ContainerRuntime.ensure_image. A caller that is cancelled does not end the pull for the others."""
        seen_at, reference = self._fresh.get(image, (0.0, None))
        if reference is not None and asyncio.get_running_loop().time() - seen_at < FRESH_S:
            return reference
        key = (image, auth)
        fetch = self._fetches.get(key)
        if fetch is None:
            fetch = self._fetches[key] = asyncio.create_task(self._fetch(image, auth))
            fetch.add_done_callback(lambda done: self._fetched(key, done))
        return await asyncio.shield(fetch)

    def forget(self, image: str) -> None:
        self._fresh.pop(image, None)

    async def close(self) -> None:
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    def _fetched(self, key: tuple[str, RegistryAuth | None], task: asyncio.Task[ImageRef]) -> None:
        del self._fetches[key]
        if not task.cancelled():
            task.exception()  # counts as seen, also when every caller was cancelled

    async def _fetch(self, image: str, auth: RegistryAuth | None) -> ImageRef:
        path = image_path(image)
        if path is None:
            raise RuntimeProblem(EndReason.IMAGE_NOT_FOUND, f"{image[:200]!r} is not the name of an image")
        lock = self._locks.setdefault(image, asyncio.Lock())
        async with lock:
            found = await self._local(image, path)
            if found is None:
                await self._pull(image, auth)
                found = await self._local(image, path)
            if found is None:
                raise RuntimeProblem(
                    EndReason.IMAGE_PULL_FAILED, f"the image {image} was pulled but is not here", retryable=True
                )
        if len(self._fresh) >= 1000:
            self._fresh.clear()
        self._fresh[image] = (asyncio.get_running_loop().time(), found)
        return found

    async def _local(self, image: str, path: str) -> ImageRef | None:
        try:
            answer = await self._engine.call("GET", f"/images/{path}/json")
        except EngineAway as away:
            raise engine_away(f"look for the image {image}", str(away)) from None
        if answer.status == 404:
            return None
        if answer.status == 400:
            raise pull_problem(image, answer.status, answer.message, with_credentials=False)
        if not answer.ok:
            raise engine_problem(f"look for the image {image}", answer.status, answer.message)
        shown = answer.document
        digests: list[str] = shown.get("RepoDigests") or []
        return ImageRef(
            reference=_digest_for(image, digests) or shown["Id"], image_id=shown["Id"], size_bytes=shown["Size"]
        )

    async def _pull(self, image: str, auth: RegistryAuth | None) -> None:
        pause_s = PULL_PAUSE_S
        for attempt in range(1, PULL_ATTEMPTS_MAX + 1):
            try:
                return await self._pull_once(image, auth)
            except RuntimeProblem as problem:
                if not problem.retryable or attempt == PULL_ATTEMPTS_MAX:
                    raise
            await self._pause(pause_s)
            pause_s *= 2
        return None

    async def _pull_once(self, image: str, auth: RegistryAuth | None) -> None:
        headers = auth_header(auth) if auth is not None else None
        try:
            async with self._engine.stream(
                "POST", "/images/create", pull_query(image), headers=headers, silence_s=PULL_SILENCE_S
            ) as answer:
                if answer.refusal is not None:
                    refusal = answer.refusal
                    raise pull_problem(image, refusal.status, refusal.message, with_credentials=auth is not None)
                async for line in answer.lines():
                    message = _error_in(line)
                    if message is not None:
                        raise pull_problem(image, 0, message, with_credentials=auth is not None)
        except EngineAway as away:
            raise engine_away(f"pull the image {image}", str(away)) from None


def _error_in(line: bytes) -> str | None:
    """Return the error of one line of a progress stream; the status of such an answer is 200 all the same."""
    progress = json.loads(line)
    detail = progress.get("errorDetail") or {}
    message = detail.get("message") or progress.get("error")
    return str(message) if message else None


def _digest_for(image: str, digests: list[str]) -> str | None:
    """Choose the digest under the repository that was asked for; one image may have come from several."""
    name = pull_query(image)["fromImage"].partition("@")[0]
    return next((digest for digest in digests if digest.partition("@")[0] == name), digests[0] if digests else None)
