"""Commands as plain processes, for machines without Docker. For development only.

NO ISOLATION: a job sees this machine's files, network and processes with the agent's rights; memory, cpu and pids are
not limited; the image's name is ignored, so the command must exist here. Volumes and gpus are refused.

Each job has a directory below `state_dir` and a shim (`process_shim.py`) in a session of its own. The agent only reads
and signals, so a new agent finds all that a killed one has left: output as files, the exit status as a file.

Paths of jobs are plain strings, but for those of outputs: pathlib has Python intern every name in them, and the table
of those grows by it.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from swarmsync.model.lifecycle import EndReason
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
    Stream,
    Usage,
    signal_number,
)
from worker.local_archive import archive_of
from worker.process_orders import order, refusal
from worker.process_signals import killed_group, process_ended, signalled

_SHIM: Final = Path(__file__).with_name("process_shim.py")
_STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")
START_TIMEOUT_S: Final = 30.0
KILL_LIMIT_S: Final = 60.0
READ_MAX_BYTES: Final = 256 << 10
#: How often a silent output file is looked at again: at first, and at most.
POLL_MIN_S: Final = 0.01
POLL_MAX_S: Final = 0.2


class ProcessRuntime:
    name = "process"
    warning = "jobs run as plain processes, without isolation and without limits: for development only"

    def __init__(self, state_dir: Path) -> None:
        self._root = str(state_dir)

    async def open(self) -> RuntimeInfo:
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        for name in self._names():
            if name.startswith("."):
                await self._destroy(name)
        return RuntimeInfo(
            version=f"Python {sys.version.split()[0]}",
            cpus_milli=(os.cpu_count() or 1) * 1000,
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            gpus=0,
            warnings=(self.warning,),
        )

    async def close(self) -> None:
        """Nothing to let go of."""

    async def ensure_image(self, image: str, auth: RegistryAuth | None = None) -> ImageRef:  # noqa: ARG002 no registry
        return ImageRef(image, image, 0)

    async def create(self, plan: ContainerPlan) -> str:
        refused = refusal(plan)
        if refused is not None:
            raise RuntimeProblem(EndReason.CREATE_FAILED, refused)
        try:
            made = self._prepare(plan)
        except OSError as error:
            why = f"the job's directory could not be made: {error.strerror}"
            raise RuntimeProblem(EndReason.CREATE_FAILED, why, retryable=True) from None
        if not made and self._read(plan.name, "labels").get("fence") != plan.fence:
            raise RuntimeProblem(
                EndReason.CREATE_FAILED, f"another job has the name {plan.name}; remove it first", retryable=True
            )
        return plan.name

    def _prepare(self, plan: ContainerPlan) -> bool:
        """Make the job's directory, whole or not at all; False when there is one already."""
        made = self._path(f".{plan.name}.{uuid4().hex}")
        try:
            self._fill(made, plan)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            raise
        try:
            os.rename(made, self._path(plan.name))
        except OSError:
            shutil.rmtree(made)
            return False
        return True

    def _fill(self, made: str, plan: ContainerPlan) -> None:
        os.makedirs(f"{made}/secrets", mode=0o700)
        os.mkdir(f"{made}/work")
        for secret in plan.secrets:
            if secret.env is None:
                _write(f"{made}/secrets/{secret.name}", secret.value)
        labels = {name: getattr(plan, name) for name in ("job", "attempt", "fence", "session", "note")}
        _write(f"{made}/labels", json.dumps(labels).encode())
        _write(f"{made}/order", json.dumps(order(plan, self._path(plan.name))).encode(), mode=0o600)

    async def start(self, container_id: str) -> None:
        if not self._exists(container_id):
            raise RuntimeProblem(EndReason.CONTAINER_REMOVED, "the job's directory was removed before it started")
        if self._read(container_id, "running") or self._read(container_id, "exit"):
            return
        try:
            answer = json.loads(await asyncio.to_thread(self._launch, container_id))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise RuntimeProblem(
                EndReason.START_FAILED, f"the shim could not be started: {error}", retryable=True
            ) from None
        if answer:
            raise RuntimeProblem(
                EndReason.START_FAILED,
                f"the command could not be started: {answer['error']}",
                exit_code=answer["exit_code"],
                retryable=answer["exit_code"] is None,
            )

    def _launch(self, container_id: str) -> bytes:
        command = [sys.executable, "-I", "-S", str(_SHIM), self._path(container_id)]
        shim = subprocess.run(  # noqa: S603 our own program
            command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=START_TIMEOUT_S
        )
        return shim.stdout

    async def wait(self, container_id: str) -> Exit:
        running = self._read(container_id, "running")
        if running:
            await process_ended(running["shim_pid"], running["shim_ticks"])
        if not self._exists(container_id):
            return Exit(NO_EXIT_CODE, removed=True)
        return self._end(container_id, running)

    def _end(self, container_id: str, running: Mapping[str, Any]) -> Exit:
        """Read how it ended. Without a word from the shim, somebody killed that: what it watched must not go on."""
        end = self._read(container_id, "exit")
        if end:
            return Exit(end["exit_code"], False, end["started_at"], end["finished_at"])
        if not running:
            return Exit(0)
        killed_group(running["pid"], running["ticks"])
        return Exit(
            128 + signal.SIGKILL,
            started_at=running["started_at"],
            finished_at=time.time(),
            error="the process that watched the command was killed",
        )

    async def logs(self, container_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogPiece]:
        offsets = {stream: skip.get(stream, 0) for stream in _STREAMS}
        ended, poll_s = asyncio.ensure_future(self.wait(container_id)), POLL_MIN_S
        try:
            while True:
                last_round, silent = ended.done(), True
                for stream in _STREAMS:
                    piece = self._piece(container_id, stream, offsets[stream])
                    if piece is not None:
                        offsets[stream] += len(piece.data)
                        silent = False
                        yield piece
                if silent and last_round:
                    return
                if silent:
                    await asyncio.wait({ended}, timeout=poll_s)
                poll_s = min(2 * poll_s, POLL_MAX_S) if silent else POLL_MIN_S
        finally:
            ended.cancel()

    def _piece(self, container_id: str, stream: Stream, offset: int) -> LogPiece | None:
        """Read what is there; its time is that of the file's newest byte."""
        try:
            with open(self._path(container_id, stream), "rb") as file:
                file.seek(offset)
                data = file.read(READ_MAX_BYTES)
                return LogPiece(stream, data, os.fstat(file.fileno()).st_mtime) if data else None
        except FileNotFoundError:
            return None

    async def stop(self, container_id: str, signal: str, grace_s: float) -> None:
        running = self._read(container_id, "running")
        if not running or not signalled(running["pid"], running["ticks"], _number(signal)):
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
                EndReason.DOCKER_ERROR, f"the command still runs {KILL_LIMIT_S:g} s after SIGKILL", retryable=True
            ) from None

    async def kill(self, container_id: str) -> None:
        running = self._read(container_id, "running")
        if running:
            killed_group(running["pid"], running["ticks"])

    async def remove(self, container_id: str) -> None:
        """Hide the directory first: who waits sees a removal, not an exit; `open` finishes what a crash left."""
        hidden = f".{container_id}.{uuid4().hex}"
        try:
            os.rename(self._path(container_id), self._path(hidden))
        except FileNotFoundError:
            return
        await self._destroy(hidden)

    async def _destroy(self, hidden: str) -> None:
        if self._read(hidden, "running"):
            await self.kill(hidden)
            await self._wait_killed(hidden)
        await asyncio.to_thread(shutil.rmtree, self._path(hidden), ignore_errors=True)

    async def archive(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        """A job without isolation writes where it runs: `/out` is `out` in its working directory."""
        working_dir = self._read(container_id, "order").get("working_dir")
        if working_dir is None:
            raise RuntimeProblem(EndReason.CONTAINER_REMOVED, "the job's directory was removed before it was read")
        async for piece in archive_of(Path(working_dir) / path.lstrip("/")):
            yield piece

    async def usage(self, container_id: str) -> Usage | None:
        """Known after the end only; of the command and those of its children that it waited for."""
        end = self._read(container_id, "exit")
        return Usage(end["memory_peak_bytes"], end["cpu_s"]) if end else None

    async def written(self, container_id: str) -> int | None:  # noqa: ARG002 nothing counts it here
        return None

    async def images(self) -> tuple[str, ...]:
        return ()

    async def trim_images(self, budget: int) -> list[str]:  # noqa: ARG002 no images
        return []

    async def list(self) -> list[Observed]:
        names = [name for name in self._names() if not name.startswith(".")]
        return [observed for observed in map(self._observe, names) if observed is not None]

    def _names(self) -> Sequence[str]:
        return os.listdir(self._root)

    def _observe(self, container_id: str) -> Observed | None:
        labels, running = self._read(container_id, "labels"), self._read(container_id, "running")
        if not labels:
            return None
        seen, end = Seen.CREATED, Exit(0)
        if running and signalled(running["shim_pid"], running["shim_ticks"], 0):
            seen, end = Seen.RUNNING, Exit(0, started_at=running["started_at"])
        elif running:
            seen, end = Seen.EXITED, self._end(container_id, running)
        return Observed(
            container_id=container_id,
            state=seen,
            exit_code=end.exit_code if seen is Seen.EXITED else None,
            started_at=end.started_at,
            finished_at=end.finished_at,
            error=end.error,
            **labels,
        )

    def _exists(self, container_id: str) -> bool:
        return os.path.isdir(self._path(container_id))

    def _read(self, container_id: str, name: str) -> dict[str, Any]:
        """One of the job's JSON files; empty when there is none (yet)."""
        try:
            with open(self._path(container_id, name), "rb") as file:
                document: dict[str, Any] = json.loads(file.read())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return document

    def _path(self, *names: str) -> str:
        return "/".join((self._root, *names))


def _write(path: str, content: bytes, mode: int = 0o666) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)


def _number(name: str) -> int:
    try:
        return signal_number(name)
    except ValueError as error:
        raise RuntimeProblem(EndReason.DOCKER_ERROR, str(error)) from None
