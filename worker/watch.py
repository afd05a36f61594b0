"""The agent's side of its watchdog: notes the leases down, and sees to it that a watchdog lives."""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Final

import structlog

from swarmsync.model.lifecycle import EndReason
from worker.lease_file import AGENT_LOCK, WATCHDOG, WATCHDOG_LOCK, LeaseFile, is_locked, take_lock
from worker.leases import Leases, key_of

KEEP_S: Final = 2.0
START_TIMEOUT_S: Final = 30.0

log = structlog.get_logger()


class Watch:
    """One agent's. `kind` and `owner` tell the watchdog whose containers it may end; `state_dir` is the worker's."""

    def __init__(self, state_dir: Path, kind: str, owner: str) -> None:
        self.file = LeaseFile(state_dir / f"{owner}.watch")
        self._command = [sys.executable, "-m", "worker.watchdog", str(self.file.directory), kind, owner, str(state_dir)]
        self._lock = take_lock(self.file.directory / AGENT_LOCK)
        self._broken = False
        if self._lock is None:
            log.warning("another agent of this worker runs on this machine", owner=owner)

    def heard_before(self) -> int | None:
        """When an earlier agent's last answered pulse was sent, if the machine has not restarted since."""
        leases = self.file.read()
        return None if leases is None or leases.boot != self.file.boot or leases.closed else leases.heard_ms

    def note(self, heard_ms: int, lease_ms: int, kill_at: dict[str, int], *, closed: bool = False) -> None:
        """Renew what the watchdog goes by; said before a container is made, and after each answered pulse."""
        try:
            self.file.write(Leases(self.file.boot, heard_ms, lease_ms, kill_at, closed))
        except OSError as problem:
            if not self._broken:
                log.warning(
                    "leases cannot be noted down: the watchdog will end this worker's containers", why=str(problem)
                )
            self._broken = True
        else:
            self._broken = False

    def was_put_down(self, job: str, fence: int) -> bool:
        """Whether the watchdog ended it."""
        marked = self.file.marked(key_of(job, fence))
        return marked is not None and marked[0] == WATCHDOG

    def mark(self, job: str, fence: int, cause: EndReason) -> None:
        """Note why the agent ends it, before it does: if it dies before Core knows, the next one must know that."""
        with contextlib.suppress(OSError):  # the disk is full; then its end looks like the container's own
            self.file.mark(key_of(job, fence), cause)

    def cause(self, job: str, fence: int) -> tuple[EndReason, int] | None:
        """Why an earlier agent ended it, and when (Unix milliseconds)."""
        why, at_ms = self.file.marked(key_of(job, fence)) or (WATCHDOG, 0)
        return None if why == WATCHDOG else (EndReason(why), at_ms)

    def forget(self, job: str, fence: int) -> None:
        self.file.forget(key_of(job, fence))

    async def keep(self) -> None:
        """Start a watchdog wherever there is none."""
        while True:
            if not is_locked(self.file.directory / WATCHDOG_LOCK):
                await asyncio.to_thread(self._start)
            await asyncio.sleep(KEEP_S)

    def _start(self) -> None:
        try:
            with (self.file.directory / "watchdog.log").open("ab") as output:
                subprocess.run(  # noqa: S603 our own program
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    check=True,
                    timeout=START_TIMEOUT_S,
                )
        except (OSError, subprocess.SubprocessError) as problem:
            log.warning("the watchdog could not be started", why=str(problem))
