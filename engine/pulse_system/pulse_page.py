"""The shared page of pulses: a module's own event loop says that it turns, the supervisor says who should be turning.

A module writes its pulse at the end of each turn, from the loop and never from a thread: a loop that is stuck stops
beating. The supervisor keeps its own row per module. Both rows outlive the process, so a pulse that is older than the
start of the present process is its predecessor's and counts for nothing.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Self

from msgspec import Struct

from engine.shared_resource.segment import Segment
from engine.shared_resource.stats_page import StatsPage

#: The module's words. Times are `time.monotonic_ns()`, which all processes of a machine share.
MODULE_WORDS: Final = ("pulse_ns", "turns", "state", "fast_lag_ns", "medium_lag_ns", "slow_lag_ns")
BEATS: Final = ("fast", "medium", "slow")
#: The supervisor's words, in a row of their own named `<module>.process`.
PROCESS_WORDS: Final = ("pid", "epoch", "started_ns", "restarts")


class ModuleState(IntEnum):
    """What a module says it is doing."""

    STARTING = 0
    RUNNING = 1
    STOPPING = 2
    STOPPED = 3


_STATES: Final = {state.value: state for state in ModuleState}


class Pulse(Struct, frozen=True):
    """One module as the page shows it.

    `pid` 0 means never started, or known to be gone; `restarts` counts since the page was made.
    """

    module: str
    pid: int
    epoch: int
    started_ns: int
    restarts: int
    pulse_ns: int
    turns: int
    state: ModuleState
    lag_ns: dict[str, int] = {}  # of the last fast, medium and slow beat: how late it came

    def age_ms(self, now_ns: int) -> int:
        """Return milliseconds since the last sign of life: the pulse, or the start if that came later."""
        return max(now_ns - max(self.pulse_ns, self.started_ns), 0) // 1_000_000


class PulseSlot:
    """The module's side of its row. Beating is two stores, well under a microsecond."""

    def __init__(self, page: StatsPage, module: str) -> None:
        self._pulse_ns = page.counter(module, "pulse_ns")
        self._turns = page.counter(module, "turns")
        self._state = page.counter(module, "state")
        self._epoch = page.counter(_process_row(module), "epoch")
        self._lags = {beat: page.counter(module, f"{beat}_lag_ns") for beat in BEATS}

    def enter(self, state: ModuleState, now_ns: int) -> None:
        """Say what the module does from now on; also a sign of life."""
        self._state.set(state)
        self._pulse_ns.set(now_ns)

    def beat(self, now_ns: int) -> None:
        """Say that one more turn of the loop is over."""
        self._turns.add()
        self._pulse_ns.set(now_ns)

    def lagged(self, beat: str, lag_ns: int) -> None:
        """Say by how much a beat came late."""
        self._lags[beat].set(lag_ns)

    def epoch(self) -> int:
        """Return the epoch that the supervisor wants here now; a process that was started with less was replaced."""
        return self._epoch.value


class PulsePage:
    """All pulses. The supervisor creates it, modules take their slot, anybody reads."""

    def __init__(self, page: StatsPage) -> None:
        self._page = page
        self.modules = tuple([row for row in page.rows if _process_row(row) in page.rows])

    @classmethod
    def create(cls, segment: Segment, modules: Sequence[str]) -> Self:
        return cls(StatsPage.create(segment, _rows(modules)))

    @classmethod
    def attach(cls, segment: Segment) -> Self:
        return cls(StatsPage.attach(segment))

    @staticmethod
    def segment_bytes(modules: Sequence[str]) -> int:
        return StatsPage.segment_bytes(_rows(modules))

    def slot(self, module: str) -> PulseSlot:
        return PulseSlot(self._page, module)

    def expect(self, module: str, epoch: int, now_ns: int) -> None:
        """Say that a process of this epoch is about to start, before it is forked; older ones are fenced from now on.

        For the supervisor. Every call but a module's first counts as a restart.
        """
        process = _process_row(module)
        if self._page.counter(process, "started_ns").value:
            self._page.counter(process, "restarts").add()
        self._page.counter(process, "pid").set(0)
        self._page.counter(process, "epoch").set(epoch)
        self._page.counter(process, "started_ns").set(now_ns)

    def started(self, module: str, pid: int) -> None:
        """Note the process that fork returned. For the supervisor."""
        self._page.counter(_process_row(module), "pid").set(pid)

    def gone(self, module: str) -> None:
        """Note that the module's process was reaped. For the supervisor."""
        self._page.counter(_process_row(module), "pid").set(0)

    def read(self, module: str) -> Pulse:
        """Return one module now; until the present process has beaten it is STARTING, with a pulse of 0."""
        process = self._page.row(_process_row(module))
        words = self._page.row(module)
        beaten = words["pulse_ns"] >= process["started_ns"]
        return Pulse(
            module=module,
            pid=process["pid"],
            epoch=process["epoch"],
            started_ns=process["started_ns"],
            restarts=process["restarts"],
            pulse_ns=words["pulse_ns"] if beaten else 0,
            turns=words["turns"],
            # A number that is no state is a damaged word: no reason for the supervisor to fall over.
            state=_STATES.get(words["state"], ModuleState.STARTING) if beaten else ModuleState.STARTING,
            lag_ns={beat: words[f"{beat}_lag_ns"] for beat in BEATS},
        )

    def read_all(self) -> list[Pulse]:
        return [self.read(module) for module in self.modules]


def _process_row(module: str) -> str:
    return f"{module}.process"


def _rows(modules: Sequence[str]) -> dict[str, tuple[str, ...]]:
    rows: dict[str, tuple[str, ...]] = {}
    for module in modules:
        rows[module] = MODULE_WORDS
        rows[_process_row(module)] = PROCESS_WORDS
    return rows
