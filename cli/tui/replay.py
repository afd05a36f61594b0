"""The time slider: a playhead that goes through kept events at 1 to 60 times their pace, or live. Pure."""

from datetime import UTC, datetime
from typing import Final

from cli.tui.job_board import JobBoard, seconds
from cli.tui.screens import Answer, Ask, Document, Wishes

SPEEDS: Final = (1, 2, 5, 10, 30, 60)
#: Ask for the next page of events when fewer than this are left to play.
AHEAD_MIN: Final = 500
PAGE: Final = 2_000
#: The slider is at least this long.
SPAN_S: Final = 600.0


class Replay:
    """The past from one moment on. `board` shows what was so at `playhead`."""

    def __init__(self, at: float, now: float, *, speed: int = 1, number: int = 0) -> None:
        self.board = JobBoard()
        self.playhead = min(at, now)
        self.speed = speed
        self.playing = True
        self.problem = ""
        self._since, self._until = self.playhead, now
        self._number = number  # answers to an earlier seek are not ours
        self._begun = False
        self._ahead: list[Document] = []
        self._next = 0
        self._cursor: str | None = ""
        self._last_tick = now

    def start(self) -> Wishes:
        moment = _written(self.playhead)
        return [Ask(f"past.{self._number}", "/v1/events/snapshot", {"at": moment, "limit": 5_000}, pages=True)]

    def owns(self, tag: str) -> bool:
        return tag in (f"past.{self._number}", f"history.{self._number}")

    def take(self, answer: Answer) -> Wishes:
        """Take the snapshot where this begins, or the next page of events."""
        document = answer.document
        if answer.tag.startswith("past."):
            self.board.begin(document["at"], document["items"])
            self._begun = True
            return self._more()
        self._ahead = self._ahead[self._next :] + document["items"]
        self._next = 0
        self._cursor = document["next_cursor"]
        return []

    def tick(self, now: float) -> Wishes:
        """Let time pass: the playhead moves, and events that it has reached happen."""
        passed, self._last_tick = max(now - self._last_tick, 0.0), now
        if not (self._begun and self.playing):
            return []
        target = self.playhead + passed * self.speed
        while self._next < len(self._ahead) and seconds(self._ahead[self._next]["at"]) <= target:
            self.board.apply(self._ahead[self._next])
            self._next += 1
        if self._next == len(self._ahead) and self._cursor is not None:
            return self._more()  # time stands still until the next page is there
        self.playhead = target
        return self._more() if len(self._ahead) - self._next < AHEAD_MIN and self._cursor else []

    def over(self) -> bool:
        """True when everything up to the moment at which this began was played."""
        return self._begun and self._cursor is None and self.playhead >= self._until

    def faster(self, step: int) -> None:
        place = SPEEDS.index(self.speed) if self.speed in SPEEDS else 0
        self.speed = SPEEDS[min(max(place + step, 0), len(SPEEDS) - 1)]

    def _more(self) -> Wishes:
        if self._cursor is None:
            return []
        query = {"since": _written(self._since), "until": _written(self._until), "limit": PAGE}
        return [Ask(f"history.{self._number}", "/v1/events/history", {**query, "cursor": self._cursor})]


def slider(playhead: float, now: float, columns: int) -> str:
    """Return the line that shows where the playhead is between some time ago and now."""
    span = max(SPAN_S, (now - playhead) * 1.25)
    inner = max(columns, 3)
    place = min(max(round((1 - (now - playhead) / span) * (inner - 1)), 0), inner - 1)
    return "=" * place + "|" + "-" * (inner - 1 - place)


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
