"""Which kept network namespace a container of `network: none` joins, and when one is made or given up. Pure.

A sandbox is an empty container whose namespace one job's container after the other joins: making a namespace and taking
it down again is half of what a short container costs. It serves one user only, one container at a time, and goes when a
container has left anything in it.
"""

from collections import deque
from typing import Final

from msgspec import Struct

#: All of them together, busy or not.
SANDBOXES_MAX: Final = 16
MAKING_MAX: Final = 2
#: A sandbox ends by itself, so that none is left behind; one that is older than `JOIN_MS` is not joined any more.
LIFE_S: Final = 600
JOIN_MS: Final = 420_000
#: A user's second container within this time is worth a sandbox for those that follow.
DEMAND_MS: Final = 10_000
DEMANDS_KEPT: Final = 1_000


class Sandbox(Struct):
    container_id: str
    user_id: int
    pid: int
    sockets: tuple[int, ...]  # as counted when it was new
    made_ms: int
    busy: bool = False


class SandboxPool:
    def __init__(self) -> None:
        self.all: dict[str, Sandbox] = {}
        self._making: list[int] = []  # for which users
        self._missed: dict[int, deque[int]] = {}  # user id -> when a container found none, the last two

    def take(self, user_id: int, now_ms: int) -> Sandbox | None:
        """Return a free one of this user, which is then busy."""
        for entry in [entry for entry in self.all.values() if now_ms - entry.made_ms >= JOIN_MS]:
            del self.all[entry.container_id]  # it ends by itself
        for entry in self.all.values():
            if entry.user_id == user_id and not entry.busy:
                entry.busy = True
                return entry
        return None

    def missed(self, user_id: int, running: int, now_ms: int) -> tuple[bool, list[str]]:
        """A container found none: say whether to make one, and which go for it. `running` containers could use one."""
        times = self._missed.pop(user_id, None) or deque(maxlen=2)
        self._missed[user_id] = times
        times.append(now_ms)
        while len(self._missed) > DEMANDS_KEPT:
            del self._missed[next(iter(self._missed))]
        own = sum(entry.user_id == user_id for entry in self.all.values()) + self._making.count(user_id)
        if len(times) < 2 or now_ms - times[0] > DEMAND_MS or own >= running or len(self._making) >= MAKING_MAX:
            return False, []
        gone: list[str] = []
        if len(self.all) + len(self._making) >= SANDBOXES_MAX:
            idle = [entry for entry in self.all.values() if not entry.busy]
            if not idle:
                return False, []
            oldest = min(idle, key=lambda entry: entry.made_ms)
            del self.all[oldest.container_id]
            gone.append(oldest.container_id)
        self._making.append(user_id)
        return True, gone

    def made(self, user_id: int, sandbox: Sandbox | None) -> None:
        """One that was to be made is there, or could not be made."""
        self._making.remove(user_id)
        if sandbox is not None:
            self.all[sandbox.container_id] = sandbox

    def left(self, sandbox: Sandbox, *, clean: bool) -> bool:
        """Its container has ended; return whether it may serve another, else it is to be removed."""
        sandbox.busy = False
        if clean and sandbox.container_id in self.all:
            return True
        self.all.pop(sandbox.container_id, None)
        return False
