"""JobInspect: jobs, workers and assignments as they move, live or at a moment that is over. Pure.

The list of jobs has the cursor; the panel below shows one of them. Going back in time leaves the live board as it is:
it goes on behind the scenes, and the live view is there again at once.
"""

import shlex
from typing import Final

from msgspec.structs import replace

from cli.tui import job_view
from cli.tui.detail import JobDetail
from cli.tui.job_board import GROUPS, Filter, JobBoard, JobRow, read_filter
from cli.tui.lines import Page
from cli.tui.replay import Replay
from cli.tui.screens import (
    LOOK_S,
    MOVES,
    PAGE_ROWS,
    Answer,
    Ask,
    Began,
    Document,
    Events,
    Failed,
    FollowEvents,
    FollowLogs,
    Leave,
    Link,
    Message,
    Prompt,
    Quit,
    Wishes,
)  # fmt: skip

STATES: Final = ("", *GROUPS)
_STEPS: Final = {"left": -10.0, "right": 10.0, "shift left": -60.0, "shift right": 60.0, "[": -60.0, "]": 60.0}


class JobInspect:
    """The state of the screen. `at` begins in the past, `speed` times as fast as it was."""

    def __init__(self, *, wanted: Filter | None = None, at: float | None = None, speed: int = 1) -> None:
        self.live = JobBoard()
        self.replay: Replay | None = None
        self.wanted = wanted or Filter()
        self.workers: list[Document] = []
        self.stats: Document = {}
        self.problem = "connecting ..."
        self.notice = ""
        self.prompt: Prompt | None = None
        self.detail: JobDetail | None = None
        self.selected = ""  # a job's id; the cursor stays with the job when rows move
        self.top = 0
        self.room = PAGE_ROWS  # rows of jobs on the screen
        self._at, self._speed = at, speed
        self._seeks = 0
        self._looked = 0.0
        self._shown: list[JobRow] = []

    @property
    def board(self) -> JobBoard:
        return self.replay.board if self.replay else self.live

    def command(self) -> str:
        """Return the command line that shows the same."""
        words = ["consumer", "inspect", "jobs"]
        for name in ("user", "state", "queue", "worker", "text"):
            value = getattr(self.wanted, name)
            words += [f"--{name}", value] if value else []
        if self.replay:
            words += ["--at", job_view.clock(self.replay.playhead, whole=True)]
        return shlex.join(words)

    def start(self, now: float) -> Wishes:
        wishes: Wishes = [FollowEvents(), *self._look(now)]
        return [*wishes, *self._seek(self._at, now)] if self._at is not None else wishes

    # --- what happens -------------------------------------------------------------------------------------------------

    def take(self, message: Message, now: float) -> Wishes:
        if self.detail:
            self.detail.take(message)
        match message:
            case Began(at=at, items=items):
                self.live.begin(at, items)
                self.problem = ""
            case Events(items=items):
                self.problem = ""
                changed = {job.job for job in map(self.live.apply, items) if job}
                if self.detail and self.detail.job in changed:
                    return self.detail.changed(now)
            case Link(problem=problem):
                self.problem = problem and f"reconnecting: {problem}"
            case Answer(tag="workers", document=document):
                self.workers = document["items"]
            case Answer(tag="stats", document=document):
                self.stats = document
            case Answer(tag=tag) if self.replay and self.replay.owns(tag):
                return self.replay.take(message)
            case Failed(tag=tag, sentence=sentence) if self.replay and self.replay.owns(tag):
                self.replay, self.notice = None, f"cannot go back: {sentence}"
            case _:
                pass
        return []

    def tick(self, now: float) -> Wishes:
        wishes: Wishes = []
        if now - self._looked >= LOOK_S:
            wishes += self._look(now)
        if self.detail:
            wishes += self.detail.tick(now)
        if self.replay:
            wishes += self.replay.tick(now)
            if self.replay.over():
                self.replay, self.notice = None, "the replay has reached the present"
        return wishes

    # --- keys ---------------------------------------------------------------------------------------------------------

    def press(self, key: str, now: float) -> Wishes:
        self.notice = ""
        if self.prompt:
            self._edit(key)
            return []
        if key in MOVES:
            self._move(MOVES[key])
            return []
        if key in _STEPS:
            return self._step(_STEPS[key], now)
        match key:
            case "enter":
                return self._open(now)
            case "tab" if self.detail:
                self.detail.next_tab()
            case "esc" | "backspace" if self.detail:
                self.detail = None
                return [FollowLogs("")]
            case "esc" | "backspace":
                return [Leave()]
            case "q":
                return [Quit()]
            case "/":
                self.prompt = Prompt(self.wanted.words())
            case "s":
                state = (
                    STATES[(STATES.index(self.wanted.state) + 1) % len(STATES)] if self.wanted.state in STATES else ""
                )
                self.wanted = replace(self.wanted, state=state)
            case "l":
                self.replay = None
            case " " if self.replay:
                self.replay.playing = not self.replay.playing
            case "+" | "=" | "-" if self.replay:
                self.replay.faster(-1 if key == "-" else 1)
            case _:
                pass
        return []

    def click(self, target: str, now: float) -> Wishes:
        """Select the job that was clicked; a second click opens it."""
        if target == self.selected:
            return self._open(now)
        self.selected = target
        return []

    def _edit(self, key: str) -> None:
        assert self.prompt is not None
        if key == "enter":
            self.wanted, self.prompt = read_filter(self.prompt.value), None
        elif key == "esc":
            self.prompt = None
        else:
            self.prompt.press(key)

    def _move(self, rows: int) -> None:
        if self.detail:
            self.detail.scrolled(rows)
            return
        shown = self.rows()
        place = next((index for index, job in enumerate(shown) if job.job == self.selected), 0)
        if shown:
            step = rows if abs(rows) != PAGE_ROWS else self.room * (1 if rows > 0 else -1)
            self.selected = shown[min(max(place + step, 0), len(shown) - 1)].job

    def _open(self, now: float) -> Wishes:
        shown = self.rows()
        if not shown:
            return []
        if self.board.find(self.selected) is None:
            self.selected = shown[0].job
        if self.detail and self.detail.job == self.selected:
            self.detail.next_tab()
            return []
        self.detail = JobDetail(self.selected)
        return self.detail.start(now)

    def _step(self, step_s: float, now: float) -> Wishes:
        if self.replay is None:
            return self._seek(now + step_s, now) if step_s < 0 else []
        target = self.replay.playhead + step_s
        if target >= now:
            self.replay = None
            return []
        self._speed = self.replay.speed
        return self._seek(target, now)

    def _seek(self, at: float, now: float) -> Wishes:
        self._seeks += 1
        self.replay = Replay(at, now, speed=self._speed, number=self._seeks)
        return self.replay.start()

    def _look(self, now: float) -> Wishes:
        self._looked = now
        return [Ask("workers", "/v1/workers", {"limit": 1_000}), Ask("stats", "/v1/stats")]

    # --- what is shown ------------------------------------------------------------------------------------------------

    def rows(self) -> list[JobRow]:
        """Return the jobs of the list, in order."""
        return self.board.shown(self.wanted)

    def view(self, columns: int, rows: int, now: float) -> Page:
        return job_view.page(self, columns, rows, now)
