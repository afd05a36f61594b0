"""Ends containers whose lease is over when their agent cannot: because it is dead, or stopped, or hangs.

A program of its own that the agent's program starts and keeps, and that outlives it. While the agent renews its leases
(`lease_file.py`) this one only looks at that file; it loads what it needs to reach the runtime when the agent is late.
Each container gets its stop signal, its grace, SIGKILL, and is removed. It ends when the agent is gone and nothing of
ours runs any more.

What it ends is marked first: an agent that wakes up later must not take our signal for an end of the job's own.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from worker import leases as rules
from worker.container_runtime import Observed, RuntimeProblem, Seen
from worker.lease_file import AGENT_LOCK, WATCHDOG_LOCK, LeaseFile, boot_ms, is_locked, take_lock
from worker.leases import Doomed, Leases

LOOK_S: Final = 0.5
GUARD_S: Final = 0.2
AGAIN_S: Final = 1.0
#: How soon it looks again for what nobody noted: at first, and at most.
ORPHANS_MIN_S: Final = 1.0
ORPHANS_MAX_S: Final = 30.0
REMOVALS_AT_ONCE: Final = 8
#: What `stop` is given beyond the grace before it is asked again.
STOP_SLACK_S: Final = 60.0


class Ender(Protocol):
    """What of a ContainerRuntime is needed here."""

    async def list(self) -> list[Observed]: ...
    async def stop(self, container_id: str, signal: str, grace_s: float) -> None: ...
    async def remove(self, container_id: str) -> None: ...
    async def close(self) -> None: ...


async def reach(kind: str, owner: str, state_dir: Path) -> Ender:
    """Open the agent's runtime beside the agent: nothing that the agent is making is swept away."""
    if kind == "docker":
        from worker.docker_runtime import DockerRuntime  # noqa: PLC0415 30 MB that are not needed until the agent is late

        docker = DockerRuntime(owner=owner, sweeps=False)
        await docker.open()
        return docker
    from worker.process_runtime import ProcessRuntime  # noqa: PLC0415 as above

    return ProcessRuntime(state_dir / owner)


class Watchdog:
    def __init__(self, file: LeaseFile, open_runtime: Callable[[], Awaitable[Ender]]) -> None:
        self._file = file
        self._open_runtime = open_runtime
        self._agent_lock = file.directory / AGENT_LOCK
        self._changed_ns = -1
        self._leases: Leases | None = None
        self._done: set[str] = set()
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._removals = asyncio.Semaphore(REMOVALS_AT_ONCE)

    def watch(self) -> None:
        """Return when there is nothing left to watch."""
        while True:
            leases = self._read()
            if leases is None:
                return  # the directory is gone, and the worker with it
            alive = is_locked(self._agent_lock)
            if not alive and leases.closed:
                return
            if rules.is_late(leases, boot_ms(), self._file.boot) and (leases.kill_at or not alive):
                if asyncio.run(self._guard()):
                    return
            else:
                time.sleep(LOOK_S)

    def _read(self) -> Leases | None:
        changed_ns = self._file.changed_ns()
        if changed_ns != self._changed_ns or not changed_ns:
            self._changed_ns = changed_ns
            self._leases = self._file.read()
        return self._leases

    # ------------------------------------------------ the agent is late

    async def _guard(self) -> bool:
        """Stay ready, and act on what is due, until the agent renews again; True when nothing is left to guard."""
        runtime: Ender | None = None
        orphans_at, orphans_s = 0.0, ORPHANS_MIN_S
        try:
            while True:
                leases, now_ms = self._read(), boot_ms()
                alive = is_locked(self._agent_lock)
                if leases is None or (not alive and leases.closed):
                    return True
                if not self._ending and not rules.is_late(leases, now_ms, self._file.boot):
                    self._done.clear()
                    return False
                runtime = runtime or await self._opened()
                if runtime is None:
                    await asyncio.sleep(AGAIN_S)
                    continue
                due = rules.anything_due(leases, now_ms, self._file.boot, self._done)
                scan = not due and rules.abandoned(leases, now_ms, self._file.boot) and time.monotonic() > orphans_at
                if due or scan:
                    orphans_at, orphans_s = time.monotonic() + orphans_s, min(2 * orphans_s, ORPHANS_MAX_S)
                    if await self._act(runtime, leases, now_ms) and scan and not alive and not self._ending:
                        return True
                await asyncio.sleep(GUARD_S)
        finally:
            for ending in self._ending.values():
                ending.cancel()
            await asyncio.gather(*self._ending.values(), return_exceptions=True)
            if runtime is not None:
                await runtime.close()

    async def _opened(self) -> Ender | None:
        try:
            return await self._open_runtime()
        except RuntimeProblem as problem:
            say(f"the runtime does not answer: {problem.message}")
            return None

    async def _act(self, runtime: Ender, leases: Leases, now_ms: int) -> bool:
        """Begin to end what is due. Return whether nothing of ours runs or could start."""
        try:
            seen = await runtime.list()
        except RuntimeProblem as problem:
            say(f"containers cannot be listed: {problem.message}")
            await asyncio.sleep(AGAIN_S)
            return False
        for entry in rules.doomed(leases, seen, now_ms, self._file.boot):
            if entry.key not in self._ending:
                self._ending[entry.key] = asyncio.create_task(self._end(runtime, entry))
        there = {rules.key_of(o.job, o.fence) for o in seen if o.state in (Seen.RUNNING, Seen.CREATED)}
        self._done |= {key for key, at_ms in leases.kill_at.items() if at_ms <= now_ms and key not in there}
        return not there

    async def _end(self, runtime: Ender, entry: Doomed) -> None:
        self._file.mark(entry.key)
        say(f"the agent let the lease of {entry.key} end: its container is {'stopped' if entry.running else 'removed'}")
        try:
            if entry.running:
                async with asyncio.timeout(entry.grace_ms / 1000 + STOP_SLACK_S):
                    await runtime.stop(entry.container_id, entry.stop_signal, entry.grace_ms / 1000)
            async with self._removals:
                await runtime.remove(entry.container_id)
        except (RuntimeProblem, TimeoutError) as problem:
            say(f"{entry.key} is still there: {problem}")  # it is listed, and so ended, again
        finally:
            self._ending.pop(entry.key, None)


def say(sentence: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} watchdog: {sentence}\n")
    sys.stderr.flush()


def main(directory: str, kind: str, owner: str, state_dir: str) -> None:
    """Go into the background, and watch; end at once when another watchdog does."""
    if os.fork():
        os._exit(0)  # whoever started us need not wait, and no parent's end is ours
    file = LeaseFile(Path(directory))
    lock = take_lock(file.directory / WATCHDOG_LOCK)
    if lock is None:
        return
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("swarm-watchdog")
    Watchdog(file, lambda: reach(kind, owner, Path(state_dir))).watch()


if __name__ == "__main__":
    main(*sys.argv[1:])
