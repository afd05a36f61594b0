"""What the Scheduler answers to an Ask, as JSON in `Answer.text`. Fields that a side does not know are passed over."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from swarmsync.model.lifecycle import WaitReason


class Blocker(Struct, frozen=True, omit_defaults=True):
    """One thing that stands between a job and its start or, where it is not `blocking`, is worth knowing.

    `help` says what would take it away, `holders` are the ids of jobs that have what it waits for.
    """

    reason: WaitReason
    message: str
    blocking: bool = True
    holders: tuple[str, ...] = ()
    help: str = ""

    @property
    def hinders(self) -> bool:
        return self.blocking and self.reason is not WaitReason.EVALUATING


class Explanation(Struct, frozen=True):
    """All blockers in the contract's order, and what the next turn would do with the job.

    `verdict` of a job that could start at once is `now`, with the worker's name; of one that no worker could ever run
    `never`; `placed` where its order is under way. `position` counts from 1. `start_in_ms` is when the last blocker is
    expected to be gone, from what is known of the jobs that hold it. `busy`: the Scheduler was not asked.
    """

    blockers: tuple[Blocker, ...] = ()
    position: int | None = None
    would_start_if: tuple[str, ...] = ()
    verdict: Literal["placed", "now", "waits", "never"] | None = None
    worker: str | None = None
    start_in_ms: int | None = None
    busy: bool = False

    @property
    def hindered(self) -> bool:
        return any(blocker.hinders for blocker in self.blockers)


_decoder = msgspec.json.Decoder(Explanation)


def read(text: bytes) -> Explanation | None:
    """Return what was answered; None where it cannot be read, which is as good as no answer."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def write(answer: Explanation) -> bytes:
    return msgspec.json.encode(answer)


def in_order(blockers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort documents of blockers by the contract's order of reasons, each kept where others of its reason are."""
    order = {reason.value: place for place, reason in enumerate(WaitReason)}
    return sorted(blockers, key=lambda blocker: order.get(blocker["reason"], len(order)))
