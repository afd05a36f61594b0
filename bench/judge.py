"""Who says whether anything was lost: a ledger outside Core, written to disk before it is relied on, and marks of jobs.

The ledger holds what was asked and what was answered, each line fsynced before anybody acts on it. The jobs themselves
write a line when they begin and hold a lock on a file of their own for as long as they live, so two containers of one
job that are alive at the same moment meet at that lock, whatever Core believes.
"""

import json
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

#: $0 directory of the marks, $1 seconds, $2 exit code. The lock (flock) is released by the kernel when the shell ends.
SCRIPT: Final = (
    'exec 9>"$0/$SWARMSYNC_JOB_ID.lock"; flock -n 9 || echo "$SWARMSYNC_JOB_ID $SWARMSYNC_FENCE" >> "$0/beside"; '
    'echo "$SWARMSYNC_JOB_ID $SWARMSYNC_FENCE" >> "$0/begun"; sleep "$1" 9>&-; exit "$2"'
)


class Promise(Struct, frozen=True):
    """A submission that was answered: its jobs, and the exit code that each will have."""

    key: str
    codes: tuple[int, ...]
    ids: tuple[str, ...]


class Ledger:
    """What one client asked and what it was told. Several threads may write."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self._lock = threading.Lock()
        self.promises: list[Promise] = []
        self.asked: set[str] = set()

    def ask(self, key: str, codes: Sequence[int]) -> None:
        """Note what will be asked; it is on disk when this returns."""
        self._write({"ask": key, "codes": list(codes)})
        self.asked.add(key)

    def told(self, promise: Promise) -> None:
        """Note what Core acknowledged: from here on losing it is a loss."""
        self._write({"told": promise.key, "ids": list(promise.ids)})
        self.promises.append(promise)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class Row(Struct, frozen=True):
    """What PostgreSQL says of a job in the end."""

    job_id: str
    state: str
    reason: str
    exit_code: int | None
    fence: int
    finals: int  # how often an end was told


class Judgement(Struct, frozen=True):
    """All but the first three and the last must be 0."""

    jobs: int
    attempts: int
    crash_limit: int  # ended as failed because the infrastructure failed it too often: told, and no loss
    lost: int  # acknowledged, and not there
    unasked: int  # there, and nobody was told of them
    unfinished: int
    wrong_verdict: int
    ended_twice: int
    began_twice: int  # one attempt, two containers
    beside: int  # two containers of a job alive at a moment
    examples: tuple[str, ...]

    @property
    def failures(self) -> int:
        counts = (self.lost, self.unasked, self.unfinished, self.wrong_verdict, self.ended_twice, self.began_twice)
        return sum(counts) + self.beside


def judge(promises: Sequence[Promise], rows: Sequence[Row], begun: Sequence[str], beside: Sequence[str]) -> Judgement:
    """Compare what was promised with what became of it. `begun` and `beside` are lines of the marks. Pure."""
    wanted = {job_id: code for promise in promises for job_id, code in zip(promise.ids, promise.codes, strict=True)}
    found = {row.job_id: row for row in rows}
    lost = sorted(wanted.keys() - found.keys())
    unasked = sorted(found.keys() - wanted.keys())
    unfinished, wrong, twice, limit = [], [], [], 0
    for job_id in sorted(wanted.keys() & found.keys()):
        row = found[job_id]
        if row.finals == 0:
            unfinished.append(job_id)
        elif row.finals > 1:
            twice.append(job_id)
        elif row.reason == "CrashLimit":
            limit += 1
        elif (row.state, row.exit_code) != ("failed" if wanted[job_id] else "succeeded", wanted[job_id]):
            wrong.append(job_id)
    counts = Counter(begun)
    again = sorted(line for line, count in counts.items() if count > 1)
    kinds = {
        "lost": lost, "unasked": unasked, "unfinished": unfinished, "wrong verdict": wrong, "ended twice": twice,
        "began twice": again, "beside": list(beside),
    }  # fmt: skip
    examples = tuple(f"{kind}: {', '.join(names[:5])}" for kind, names in kinds.items() if names)
    return Judgement(
        len(wanted), len(counts), limit, len(lost), len(unasked), len(unfinished), len(wrong), len(twice), len(again),
        len(beside), examples,
    )  # fmt: skip


def marks(directory: Path, name: str) -> list[str]:
    path = directory / name
    return path.read_text().splitlines() if path.exists() else []
