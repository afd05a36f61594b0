"""Images of one engine: found locally, else pulled, once per image however many jobs ask."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import ImageRef, RegistryAuth, RuntimeProblem
from worker.docker_config import auth_header, image_path, pull_query
from worker.docker_engine import DockerEngine, EngineAway
from worker.docker_errors import engine_away, engine_problem, pull_problem
from worker.docker_image_budget import PulledImage, names_of, surplus

PULL_ATTEMPTS_MAX: Final = 4
PULL_PAUSE_S: Final = 1.0  # doubled after each attempt
#: Docker writes progress every few hundred milliseconds, also while it unpacks.
PULL_SILENCE_S: Final = 300.0
#: For this long an image that was here is not looked for again; `create` says so if it went away meanwhile.
FRESH_S: Final = 5.0
#: For so long after a job asked for an image it counts as due: its container is being made.
DUE_S: Final = 300.0


class DockerImages:
    """`pause` sleeps between attempts; tests replace it."""

    def __init__(
        self, engine: DockerEngine, pause: Callable[[float], Awaitable[None]], pulled: Path | None = None
    ) -> None:
        self._file = pulled
        self._pulled = _read(pulled)  # image id -> Unix time of its last use, of those that were pulled here
        self._asked: dict[str, float] = {}  # image id -> when a job asked for it here
        self._engine = engine
        self._pause = pause
        self._fresh: dict[str, tuple[float, ImageRef]] = {}
        self._fetches: dict[tuple[str, RegistryAuth | None], asyncio.Task[ImageRef]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, image: str, auth: RegistryAuth | None) -> ImageRef:
        """As ContainerRuntime.ensure_image. A caller that is cancelled does not end the pull for the others."""
        seen_at, reference = self._fresh.get(image, (0.0, None))
        if reference is not None and asyncio.get_running_loop().time() - seen_at < FRESH_S:
            self._used(reference.image_id)
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
                if found is not None:
                    self._pulled[found.image_id] = time.time()
                    self._save()
            if found is None:
                raise RuntimeProblem(
                    EndReason.IMAGE_PULL_FAILED, f"the image {image} was pulled but is not here", retryable=True
                )
        if len(self._fresh) >= 1000:
            self._fresh.clear()
        self._used(found.image_id)
        self._fresh[image] = (asyncio.get_running_loop().time(), found)
        return found

    # ------------------------------------------------ what is here, and how much of it

    def _used(self, image_id: str) -> None:
        now_s = time.time()
        self._asked[image_id] = now_s
        if image_id in self._pulled:
            self._pulled[image_id] = now_s

    async def _listed(self) -> list[dict[str, Any]]:
        try:
            answer = await self._engine.call("GET", "/images/json")
        except EngineAway as away:
            raise engine_away("list images", str(away)) from None
        if not answer.ok:
            raise engine_problem("list images", answer.status, answer.message)
        listed: list[dict[str, Any]] = answer.document
        return listed

    async def names(self) -> tuple[str, ...]:
        return names_of(await self._listed())

    async def trim(self, in_use: set[str], budget: int) -> list[str]:
        """Remove images; Docker itself refuses one that a container has meanwhile."""
        listed = {entry["Id"]: entry for entry in await self._listed()}
        self._pulled = {image_id: used_s for image_id, used_s in self._pulled.items() if image_id in listed}
        due = {image_id for image_id, asked_s in self._asked.items() if time.time() - asked_s < DUE_S}
        self._asked = {image_id: self._asked[image_id] for image_id in due}
        images = [PulledImage(i, int(listed[i].get("Size", 0)), used_s) for i, used_s in self._pulled.items()]
        gone = []
        for image_id in surplus(images, in_use | due, budget):
            names = [*(listed[image_id].get("RepoTags") or ()), *(listed[image_id].get("RepoDigests") or ())]
            if await self._remove([name for name in names if not name.startswith("<none>")] or [image_id]):
                del self._pulled[image_id]
                gone.append(image_id)
        self._save()
        return gone

    async def _remove(self, names: list[str]) -> bool:
        removed = True
        for name in names:
            self.forget(name)
            try:
                answer = await self._engine.call("DELETE", f"/images/{image_path(name) or name}")
            except EngineAway as away:
                raise engine_away("remove an image", str(away)) from None
            removed = removed and (answer.ok or answer.status == 404)
        return removed

    def _save(self) -> None:
        """Remember for the next agent; on a full disk it forgets, and keeps those images."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                fresh = self._file.with_suffix(".new")
                fresh.write_text(json.dumps(self._pulled))
                fresh.replace(self._file)

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


def _read(file: Path | None) -> dict[str, float]:
    try:
        return {} if file is None else msgspec.json.decode(file.read_bytes(), type=dict[str, float])
    except (OSError, msgspec.DecodeError):
        return {}


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
