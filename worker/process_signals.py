"""Signals for, and news of, processes that are not our children. A pid is trusted only together with its start time."""

import asyncio
import os
import signal


def _opened(pid: int, ticks: int) -> int | None:
    """Return a file descriptor of this very process (pidfd), or None when it has ended.

    The descriptor is taken before the start time is compared, so it cannot mean a later process of the same number.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if _lives_since(pid) == ticks:
        return descriptor
    os.close(descriptor)
    return None


def _lives_since(pid: int) -> int | None:
    """Clock ticks from boot to start (proc(5), stat, field 22); None for a process that is dead or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


async def process_ended(pid: int, ticks: int) -> None:
    """Return when the process has ended; at once when it had."""
    descriptor = _opened(pid, ticks)
    if descriptor is None:
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def signalled(pid: int, ticks: int, number: int) -> bool:
    """Send a signal (0: none, only look). False when the process has ended."""
    descriptor = _opened(pid, ticks)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def killed_group(leader: int, ticks: int) -> bool:
    """Kill a process and all of its group. False when the leader has ended."""
    descriptor = _opened(leader, ticks)
    if descriptor is None:
        return False
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
