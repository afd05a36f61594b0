"""Why lines wait, told to those who list jobs: the first blocker of each line, when it changes, and not too often."""

from __future__ import annotations

from itertools import islice
from typing import Final

from msgspec import Struct, field

from engine.scheduler import why
from engine.scheduler.backlog import Line
from engine.scheduler.books import Books
from engine.scheduler.cluster_view import Shape
from engine.scheduler.reservation import Reservation
from engine.scheduler.run_times import NEVER_MS
from swarmsync.model.lifecycle import WaitReason
from swarmsync.protocol.messages import LineWaits, ToDispatcher

REPORT_MS: Final = 1_000  # a line's sentence is renewed at most this often (less often where workers are many)
LINES_PER_TURN: Final = 500
WORKERS_PER_TURN: Final = 5_000  # how many workers the sentences of one turn may look at
WORKERS_PER_MS: Final = 100  # and of many turns: about a twelfth of the Scheduler's time


class _Told(Struct):
    reason: WaitReason
    message: str
    at_ms: int


class _Crowd(Struct):
    """Who waits for room: the highest priority, and per priority the user that had least of the cluster lately."""

    at_ms: int
    highest: int = -1
    least: dict[int, tuple[float, int]] = field(default_factory=dict)


class Telling:
    def __init__(self, books: Books) -> None:
        self._books = books
        self._told: dict[int, _Told] = {}
        self._stale: dict[Line, None] = {}  # lines whose sentence may have changed
        self._all = False
        self._all_ms = 0
        self._look_ms = 0  # not before, sentences look at workers again
        self._due_ms = NEVER_MS  # when the first of the stale may be told anew
        self._crowd = _Crowd(-REPORT_MS)
        self._reserved: dict[Line, None] = {}  # told that the room for them is kept for another

    def due(self, now_ms: int) -> bool:
        """Whether a turn at that time has more to tell, though nothing happens."""
        return now_ms >= self._due_ms

    def may_have_changed(self, line: Line) -> None:
        self._stale[line] = None

    def all_may_have_changed(self) -> None:
        self._all = True

    def forget(self, line: Line, effects: list[ToDispatcher]) -> None:
        """The line has no job left: take back what was said of it."""
        self._stale.pop(line, None)
        self._reserved.pop(line, None)
        if self._told.pop(line.name, None) is not None:
            effects.append(LineWaits(line.name, None, ""))

    def tell(self, reserved: Reservation | None, effects: list[ToDispatcher]) -> None:
        books = self._books
        self._stale.update(self._reserved)
        if (self._told or self._stale) and books.now_ms - self._crowd.at_ms >= REPORT_MS + len(
            books.backlog.lines
        ) // 8:
            self._look_around()
        if self._all and books.now_ms >= self._all_ms:
            self._all, self._all_ms = False, books.now_ms + REPORT_MS
            self._stale.update(dict.fromkeys(books.backlog.lines.values()))
        self._due_ms = self._all_ms if self._all else NEVER_MS
        if not self._stale:
            return
        if books.now_ms < self._look_ms:
            self._due_ms = min(self._due_ms, self._look_ms)
            return
        if len(self._stale) > LINES_PER_TURN:
            self._due_ms = books.now_ms
        asked: dict[Shape, tuple[WaitReason, str]] = {}
        pause_ms = max(REPORT_MS, len(books.cluster.machines) // 2)
        workers = max(len(books.cluster.machines), 1)
        looks, looks_max = 0, max(1, WORKERS_PER_TURN // workers)
        for line in list(islice(self._stale, LINES_PER_TURN)):
            del self._stale[line]
            told = self._told.get(line.name)
            if not line.jobs:
                continue
            if told is not None and books.now_ms - told.at_ms < pause_ms:
                self._later(line, told.at_ms + pause_ms)
                continue
            if line.gate is None and line.shape in books.awake:
                self._later(line, books.now_ms)  # about to be decided
                continue
            if line.shape not in asked:
                if looks >= looks_max:
                    self._later(line, max(books.now_ms, self._look_ms))
                    continue
                looks += 1
                self._look_ms = books.now_ms + looks * workers // WORKERS_PER_MS
            reason, message = self._first(line, reserved, asked)
            if reason is WaitReason.EVALUATING:
                books.wake(line.shape)
                self._later(line, books.now_ms)
                continue
            self._told[line.name] = _Told(reason, message, books.now_ms)
            if told is None or (told.reason, told.message) != (reason, message):
                effects.append(LineWaits(line.name, reason, message, line.jobs))

    def _later(self, line: Line, at_ms: int) -> None:
        """Look at the line again in a later turn."""
        self._stale[line] = None
        self._due_ms = min(self._due_ms, at_ms)

    def _note_reserved(self, line: Line, reason: WaitReason) -> None:
        if reason is WaitReason.RESERVED:
            self._reserved[line] = None
        else:
            self._reserved.pop(line, None)

    def _look_around(self) -> None:
        old, self._crowd = self._crowd, self._look()
        users = {priority: user_id for priority, (_, user_id) in self._crowd.least.items()}
        if old.highest != self._crowd.highest or users != {key: user_id for key, (_, user_id) in old.least.items()}:
            self._all = True

    def _first(
        self, line: Line, reserved: Reservation | None, asked: dict[Shape, tuple[WaitReason, str]]
    ) -> tuple[WaitReason, str]:
        books = self._books
        room = asked.get(line.shape)
        if room is None:
            head = books.backlog.head(line)
            assert head is not None
            said = why.at_workers(books, reserved, line.shape, line.terms, head[1], foresee=False)
            room = said.reason, said.message
            if said.reason not in (WaitReason.RESERVED, WaitReason.EVALUATING):
                asked[line.shape] = room  # what depends on the shape alone
        self._note_reserved(line, room[0])  # whatever stands before that in the sentence
        found = [(entry.reason, entry.message) for entry in why.at_gates(books, line.terms)]
        found.append(room)
        if room[0] in (WaitReason.RESOURCES, WaitReason.RESERVED):
            found += self._before(line)
        return min(found, key=lambda entry: why.ORDER[entry[0]])

    def _before(self, line: Line) -> list[tuple[WaitReason, str]]:
        """Return Priority or FairShare, without numbers that would change all the time."""
        books = self._books
        head = books.backlog.head(line)
        assert head is not None
        if self._crowd.highest > head[0]:
            return [(WaitReason.PRIORITY, f"jobs of higher priority (up to {self._crowd.highest}) wait for room, too")]
        level, user_id = self._crowd.least.get(head[0], (0.0, line.terms.user_id))
        if user_id != line.terms.user_id and level < why.level_of(books, line.terms.user_id):
            return [(WaitReason.FAIR_SHARE, "users that had less of the cluster lately go first")]
        return []

    def _look(self) -> _Crowd:
        books = self._books
        crowd = _Crowd(books.now_ms)
        hopeful: dict[Shape, bool] = {}
        levels: dict[int, float] = {}
        for line in books.backlog.lines.values():
            if line.gate is not None or not line.levels:
                continue
            if line.shape not in hopeful:
                hopeful[line.shape] = why.has_worker(books, line.shape)
            if not hopeful[line.shape]:
                continue
            user_id = line.terms.user_id
            if user_id not in levels:
                levels[user_id] = why.level_of(books, user_id)
            for priority in line.levels:
                crowd.highest = max(crowd.highest, priority)
                entry = levels[user_id], user_id
                if priority not in crowd.least or entry < crowd.least[priority]:
                    crowd.least[priority] = entry
        return crowd
