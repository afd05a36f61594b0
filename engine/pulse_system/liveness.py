"""What an old pulse means. Pure: ages and times come in, what to do comes out.

    age   0 ........ late_ms ........ abort_ms ........................ and kill_ms - abort_ms later
          Fine       Late             Hung                              Kill
                     warn once        SIGABRT once, for a traceback     SIGKILL, start another

There is no way back from Hung: whoever got SIGABRT may have lost half of what it was doing. The supervisor begins with
a fresh `Watch` when it starts another process.
"""

from typing import TypeAlias

from msgspec import Struct


class Limits(Struct, frozen=True):
    """Ages of a pulse in milliseconds; `[pulse]` in the settings has the usual ones. A start may be given more."""

    late_ms: int
    abort_ms: int
    kill_ms: int

    def __post_init__(self) -> None:
        if not 0 < self.late_ms < self.abort_ms < self.kill_ms:
            raise ValueError(f"late, abort and kill must grow: {self.late_ms}, {self.abort_ms}, {self.kill_ms} ms")


class Fine(Struct, frozen=True):
    pass


class Late(Struct, frozen=True):
    """`warn` is True once per lateness."""

    age_ms: int
    warn: bool


class Hung(Struct, frozen=True):
    """`abort` is True once: send SIGABRT now."""

    age_ms: int
    abort: bool


class Kill(Struct, frozen=True):
    """Send SIGKILL; SIGABRT was not answered. Repeated until somebody reaps the process."""

    age_ms: int


Verdict: TypeAlias = Fine | Late | Hung | Kill


class Watch(Struct, frozen=True):
    """What the supervisor remembers about one process between two looks. Times are monotonic milliseconds."""

    looked_at_ms: int | None = None
    excused_at_ms: int | None = None
    warned: bool = False
    aborted_at_ms: int | None = None


def judge(watch: Watch, age_ms: int, now_ms: int, limits: Limits) -> tuple[Watch, Verdict]:
    """Judge a pulse of `age_ms` seen at `now_ms`; call it several times per `late_ms`.

    When the last look is longer ago than `late_ms`, the machine or the supervisor itself stood still, and so perhaps
    did everybody: ages then count from now.
    """
    excused = watch.excused_at_ms
    if watch.looked_at_ms is not None and now_ms - watch.looked_at_ms > limits.late_ms:
        excused = now_ms
    if excused is not None:
        age_ms = min(age_ms, now_ms - excused)
    aborted = watch.aborted_at_ms
    verdict: Verdict
    if aborted is not None:
        waited_ms = now_ms - (aborted if excused is None else max(aborted, excused))
        verdict = Kill(age_ms) if waited_ms >= limits.kill_ms - limits.abort_ms else Hung(age_ms, abort=False)
    elif age_ms >= limits.abort_ms:
        aborted = now_ms
        verdict = Hung(age_ms, abort=True)
    elif age_ms >= limits.late_ms:
        verdict = Late(age_ms, warn=not watch.warned)
    else:
        verdict = Fine()
    return Watch(now_ms, excused, not isinstance(verdict, Fine), aborted), verdict
