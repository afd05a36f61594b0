"""Containers on a Docker engine, 20.10 or later. The engine is the memory: labels say whose a container is.

Seven requests a container: create, start, wait, logs, one inspect that `wait` and `logs` share, the log's last entry,
delete. Each may be lost, late or answered twice; so a container is found again by its name, never started again once it
has run, and waiting and reading go on by themselves when the engine comes back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmsync.model.lifecycle import EndReason
from swarmsync.model.policy import NOTHING, Allowance
from worker import docker_config, docker_errors
from worker.container_runtime import (
    NO_EXIT_CODE,
    ContainerPlan,
    Exit,
    ImageRef,
    LogPiece,
    Observed,
    RegistryAuth,
    RuntimeInfo,
    RuntimeProblem,
    Seen,
    Usage,
)
from worker.docker_engine import DockerEngine, EngineAway
from worker.docker_images import DockerImages
from worker.docker_info import describe
from worker.docker_log_reader import PAUSE_MAX_S, DockerLogReader
from worker.docker_looks import GONE, PAUSE_MIN_S, TRIES_MAX, DockerLooks, expect_ok
from worker.docker_sandboxes import DockerSandboxes
from worker.secret_files import SecretFiles

START_TIMEOUT_S: Final = 120.0
REMOVE_TIMEOUT_S: Final = 120.0
#: A killed container that is still there after this is reported; its process hangs in the kernel.
KILL_LIMIT_S: Final = 60.0
ARCHIVE_SILENCE_S: Final = 60.0
NEWLINES_KEPT_SINCE: Final = 23  # see docker_logs.py
#: An engine that was away so shortly before a container ended may be another one, that answers as if nothing had been.
RESTART_S: Final = 10.0
#: SIGKILL, SIGTERM, and what an engine says that lost a container.
CUT_SHORT: Final = (137, 143, 255)


class DockerRuntime:
    """`owner` keeps workers that share one engine apart; `allowed` is what this worker lets jobs loosen.

    `url` is written as DOCKER_HOST is; None looks where the docker command would. `pause` sleeps between attempts.
    `pulled` is the file that remembers which images it pulled; without it none is ever removed.
    `sweeps` False is for a second process beside the agent: it must not take what the agent is making for left-overs.
    """

    name = "docker"

    def __init__(
        self,
        url: str | None = None,
        *,
        owner: str = "",
        allowed: Allowance = NOTHING,
        secrets_dir: Path = Path("/dev/shm/swarmsync-secrets"),  # noqa: S108 a tmpfs on every Linux; owner is checked
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        sweeps: bool = True,
        pulled: Path | None = None,
        keeps_networks: bool = True,
    ) -> None:
        self._owner = owner
        self._sweeps = sweeps
        self._allowed = allowed
        self._pause = pause
        self._secrets = SecretFiles(secrets_dir / (owner or "any"))
        self._engine = DockerEngine(url)
        self._images = DockerImages(self._engine, pause, pulled)
        self._survived = True  # containers outlive their engine: live-restore
        self._storage_limits = True  # until the engine says that it cannot: then the agent watches what is written
        self._fresh: set[str] = set()  # created here and not started yet: they need no look before the start
        self._usages: dict[str, Usage] = {}
        self._looks = DockerLooks(self._engine, pause)
        self._reader = DockerLogReader(self._engine, self._looks, pause)
        network_files = SecretFiles(secrets_dir.with_name(f"{secrets_dir.name}-network") / (owner or "any"))
        self._sandboxes = DockerSandboxes(self._engine, owner, network_files, wanted=keeps_networks)

    async def open(self) -> RuntimeInfo:
        try:
            version = await self._engine.open()
            info = await self._engine.call("GET", "/info")
        except EngineAway as away:
            raise docker_errors.engine_away("say its version", str(away)) from None
        if not info.ok:
            raise docker_errors.engine_problem("describe itself", info.status, info.message)
        self._reader.newlines_lost = int(str(version["Version"]).partition(".")[0]) < NEWLINES_KEPT_SINCE
        self._survived = bool(info.document.get("LiveRestoreEnabled"))
        await self.list()
        if self._sweeps:
            names = set(self._looks.names.values())
            self._secrets.forget_all_but(names)
            try:
                await self._sandboxes.open(info.document, names)
            except EngineAway as away:
                raise docker_errors.engine_away("remove what was left", str(away)) from None
        return describe(
            version, info.document, unlimited=self._engine.unlimited, secrets_in_memory=self._secrets.in_memory()
        )

    async def close(self) -> None:
        await self._sandboxes.close()
        await self._images.close()
        await self._looks.close()
        await self._engine.close()

    async def ensure_image(self, image: str, auth: RegistryAuth | None = None) -> ImageRef:
        return await self._images.ensure(image, auth)

    async def create(self, plan: ContainerPlan) -> str:
        plan = _with_real_paths(plan)
        refused = docker_config.refusal(plan, self._allowed)
        if refused is not None:
            raise RuntimeProblem(EndReason.CREATE_FAILED, refused)
        try:
            secrets_path = self._secrets.write(plan.name, plan.secrets, plan.user)
        except OSError as error:
            raise RuntimeProblem(
                EndReason.CREATE_FAILED, f"secrets cannot be written: {error}", retryable=True
            ) from None
        body = docker_config.create_body(plan, owner=self._owner, secrets_path=secrets_path)
        if not self._storage_limits:
            body["HostConfig"].pop("StorageOpt", None)
        try:
            return await self._create(plan, body, joined=self._sandboxes.join(plan, body))
        except BaseException:
            self._sandboxes.left(plan.name)  # also where it was made after all: it will not be started
            raise

    async def _create(self, plan: ContainerPlan, body: dict[str, Any], *, joined: bool) -> str:
        cause = ""
        for _ in range(TRIES_MAX):
            try:
                answer = await self._engine.call("POST", "/containers/create", {"name": plan.name}, body=body)
            except EngineAway as away:
                cause = str(away)
            else:
                if answer.ok:
                    return self._created(answer.document["Id"], plan.name, fresh=True)
                if "storage-opt" in answer.message and body["HostConfig"].pop("StorageOpt", None):
                    self._storage_limits = False
                    continue
                if joined and answer.status != 409:
                    joined = self._sandboxes.part(plan, body)  # it may be the sandbox that is not there any more
                    continue
                if answer.status != 409:
                    self._images.forget(plan.image)
                    raise docker_errors.create_problem(plan.image, answer.status, answer.message)
                cause = answer.message
            found = await self._find(plan)  # an earlier request of ours may have got through
            if found is not None:
                return self._created(found, plan.name, fresh=False)
            await self._pause(PAUSE_MIN_S)
        raise docker_errors.engine_away("create a container", cause)

    def _created(self, container_id: str, name: str, *, fresh: bool) -> str:
        self._looks.names[container_id] = name
        self._sandboxes.created(name, container_id)
        if fresh:
            self._fresh.add(container_id)
        return container_id

    async def _find(self, plan: ContainerPlan) -> str | None:
        """Return the id of the container with the plan's name and fence. Raises when another one has the name."""
        answer = await self._looks.ask("find a container", "GET", f"/containers/{plan.name}/json")
        if answer.status == 404:
            return None
        expect_ok(answer, "find a container")
        shown = answer.document
        if shown["Config"]["Labels"].get(docker_config.LABEL_FENCE) == str(plan.fence):
            return str(shown["Id"])
        raise RuntimeProblem(
            EndReason.CREATE_FAILED, f"another container has the name {plan.name}; remove it first", retryable=True
        )

    async def start(self, container_id: str) -> None:
        look_first = container_id not in self._fresh
        self._fresh.discard(container_id)
        cause = ""
        for _ in range(TRIES_MAX):
            if look_first:
                seen, _exit = await self._looks.look(container_id)
                if seen is Seen.ABSENT:
                    raise RuntimeProblem(EndReason.CONTAINER_REMOVED, "the container was removed before it started")
                if seen is not Seen.CREATED:
                    return
            look_first = True
            try:
                answer = await self._engine.call("POST", f"/containers/{container_id}/start", timeout_s=START_TIMEOUT_S)
            except EngineAway as away:
                cause = str(away)
                await self._pause(PAUSE_MIN_S)
                continue
            if not answer.ok:
                problem = docker_errors.start_problem(answer.status, answer.message)
                raise await self._blamed(container_id, problem)
            return
        raise docker_errors.engine_away("start a container", cause)

    async def _blamed(self, container_id: str, problem: RuntimeProblem) -> RuntimeProblem:
        """A start that failed is no fault of the job's when the sandbox that it was to join has gone."""
        try:
            lost = await self._sandboxes.lost(container_id)
        except EngineAway:
            lost = True
        if not lost:
            return problem
        why = f"the network namespace that was kept for it has gone: {problem.message}"
        return RuntimeProblem(EndReason.START_FAILED, why, retryable=True)

    async def wait(self, container_id: str) -> Exit:
        pause_s, away = PAUSE_MIN_S, False
        while True:
            try:
                answer = await self._engine.call("POST", f"/containers/{container_id}/wait", timeout_s=None)
                if answer.status == 404:
                    self._sandboxes.left(None, container_id)
                    return GONE
                if answer.ok:
                    seen, ended = await self._looks.look(container_id)
                    if seen is Seen.ABSENT:
                        return msgspec.structs.replace(GONE, exit_code=answer.document["StatusCode"])
                    if seen is not Seen.RUNNING:
                        self._reader.ended(container_id)
                        if seen is Seen.EXITED:
                            self._sandboxes.left(None, container_id)
                        return await self._with_engine(ended, away=away or self._engine.was_away(RESTART_S))
            except (EngineAway, RuntimeProblem):
                away = True  # ask again for as long as it takes: the container may well be running
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _with_engine(self, ended: Exit, *, away: bool) -> Exit:
        """Return the end; without a code where the engine stopped and, without live-restore, its containers with it."""
        if self._survived and not away:
            return ended
        if away:
            answer = await self._looks.ask("describe itself", "GET", "/info")
            now = answer.ok and bool(answer.document.get("LiveRestoreEnabled"))
            survived, self._survived = self._survived and now, now
            lost = not survived and ended.exit_code in CUT_SHORT and not ended.oom_killed
        else:
            lost = not self._engine.accepts()
        why = "Docker was stopped, and this container with it"
        return msgspec.structs.replace(ended, exit_code=NO_EXIT_CODE, error=why) if lost else ended

    def logs(self, container_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogPiece]:
        return self._reader.read(container_id, skip)

    async def stop(self, container_id: str, signal: str, grace_s: float) -> None:
        if not await self._signal(container_id, signal):
            return
        try:
            async with asyncio.timeout(grace_s):
                await self.wait(container_id)
        except TimeoutError:
            await self.kill(container_id)
            await self._wait_killed(container_id)

    async def _wait_killed(self, container_id: str) -> None:
        try:
            async with asyncio.timeout(KILL_LIMIT_S):
                await self.wait(container_id)
        except TimeoutError:
            raise RuntimeProblem(
                EndReason.DOCKER_ERROR, f"the container still runs {KILL_LIMIT_S:g} s after SIGKILL", retryable=True
            ) from None

    async def kill(self, container_id: str) -> None:
        await self._signal(container_id, "SIGKILL")

    async def _signal(self, container_id: str, signal: str) -> bool:
        """Return False when there is nothing (any more) that could get the signal."""
        answer = await self._looks.ask(
            "signal a container", "POST", f"/containers/{container_id}/kill", {"signal": signal}
        )
        if answer.status in (404, 409):
            return False
        expect_ok(answer, f"send {signal} to a container")
        return True

    async def remove(self, container_id: str) -> None:
        answer = await self._looks.ask(
            "remove a container",
            "DELETE",
            f"/containers/{container_id}",
            {"force": "1", "v": "1"},
            timeout_s=REMOVE_TIMEOUT_S,
        )
        if answer.status == 409:  # somebody else is removing it
            path, query = f"/containers/{container_id}/wait", {"condition": "removed"}
            answer = await self._looks.ask("remove a container", "POST", path, query, timeout_s=REMOVE_TIMEOUT_S)
        if answer.status != 404:
            expect_ok(answer, "remove a container")
        self._fresh.discard(container_id)
        self._usages.pop(container_id, None)
        name = self._looks.forget(container_id)
        self._sandboxes.removed(name, container_id)
        if name is not None:
            self._secrets.forget(name)

    async def archive(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        address = f"/containers/{container_id}/archive"
        try:
            async with self._engine.stream("GET", address, {"path": path}, silence_s=ARCHIVE_SILENCE_S) as stream:
                if stream.refusal is None:
                    async for data in stream.pieces():
                        yield data
                elif stream.refusal.status != 404:
                    expect_ok(stream.refusal, f"read {path} of a container")
                elif "no such container" in stream.refusal.message.lower():
                    raise RuntimeProblem(
                        EndReason.CONTAINER_REMOVED, "the container was removed before its outputs were read"
                    )
        except EngineAway as away:
            raise docker_errors.engine_away(f"read {path} of a container", str(away)) from None

    async def written(self, container_id: str) -> int | None:
        """As the engine counts it (`SizeRw`); None where the storage itself holds containers to their limit."""
        if self._storage_limits:
            return None
        answer = await self._looks.ask("measure a container", "GET", f"/containers/{container_id}/json", {"size": "1"})
        size = answer.document.get("SizeRw") if answer.ok else None
        return size if isinstance(size, int) else None

    async def usage(self, container_id: str) -> Usage | None:
        """Peak memory is known with cgroup v1 only; on v2 it is what is used now. After the end: as last measured."""
        if self._looks.has_exited(container_id):
            return self._usages.get(container_id)
        query = {"stream": "0", "one-shot": "1"}
        answer = await self._looks.ask("measure a container", "GET", f"/containers/{container_id}/stats", query)
        if not answer.ok:
            return None
        memory, cpu = answer.document.get("memory_stats", {}), answer.document.get("cpu_stats", {})
        if not memory:
            return None
        peak = memory.get("max_usage") or memory.get("usage")
        usage = Usage(memory_peak_bytes=peak, cpu_s=cpu["cpu_usage"]["total_usage"] / 1e9)
        self._usages[container_id] = usage
        return usage

    async def images(self) -> tuple[str, ...]:
        return await self._images.names()

    async def trim_images(self, budget: int) -> list[str]:
        answer = await self._looks.ask("list containers", "GET", "/containers/json", {"all": "1"})
        expect_ok(answer, "list containers")
        return await self._images.trim({entry["ImageID"] for entry in answer.document}, budget)

    async def list(self) -> list[Observed]:
        return await self._looks.list(self._owner)


def _with_real_paths(plan: ContainerPlan) -> ContainerPlan:
    """Resolve symbolic links: one that a job left in an open directory must not lead the next job out of it."""
    mounts = tuple(
        [
            msgspec.structs.replace(mount, source=str(Path(mount.source).resolve())) if mount.kind == "bind" else mount
            for mount in plan.mounts
        ]
    )
    return msgspec.structs.replace(plan, mounts=mounts) if mounts != plan.mounts else plan
