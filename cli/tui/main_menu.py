"""The menu: jobs, workers, schedules, logs and the two inspectors, each with the command that does the same. Pure."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from cli import cells
from cli.tui import kinds
from cli.tui.core_inspect import CoreInspect
from cli.tui.forms import FORMS, FormScreen
from cli.tui.job_inspect import JobInspect
from cli.tui.lines import Line, Page, chosen, frame, keys, spread, text
from cli.tui.lists import ListScreen
from cli.tui.screens import LOOK_S, Answer, Ask, Document, Failed, Leave, Message, Open, Quit, Screen, Wishes


class Entry(Struct, frozen=True):
    key: str
    name: str
    summary: str
    command: str
    make: Callable[[], Screen]


_L: Final = "consumer {} list"
ENTRIES: Final = (
    Entry("j", "Jobs", "list, open, cancel, hold, rerun", _L.format("job"), lambda: ListScreen(kinds.JOBS)),
    Entry("n", "New job", "a form that Core checks", "consumer job create", lambda: FormScreen(FORMS["job"])),
    Entry("w", "Workers", "load, cordon, drain", _L.format("worker"), lambda: ListScreen(kinds.WORKERS)),
    Entry("s", "Schedules", "next fires, pause", _L.format("schedule"), lambda: ListScreen(kinds.SCHEDULES)),
    Entry("a", "New schedule", "with its fires", "consumer schedule create", lambda: FormScreen(FORMS["schedule"])),
    Entry("l", "Logs", "the system's own log", _L.format("log"), lambda: ListScreen(kinds.LOGS)),
    Entry("i", "Inspect jobs", "live, or back in time", "consumer inspect jobs", JobInspect),
    Entry("c", "Inspect core", "modules, pulses, rings", "consumer inspect core", CoreInspect),
)


class MainMenu:
    """The state of the menu."""

    def __init__(self) -> None:
        self.place = 0
        self.stats: Document = {}
        self.problem = "connecting ..."
        self._looked = 0.0

    def start(self, now: float) -> Wishes:
        self._looked = now
        return [Ask("stats", "/v1/stats")]

    def take(self, message: Message, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        match message:
            case Answer(tag="stats", document=document):
                self.stats, self.problem = document, ""
            case Failed(tag="stats", sentence=sentence, gone=gone):
                self.problem = f"reconnecting: {sentence}" if gone else sentence
            case _:
                pass
        return []

    def tick(self, now: float) -> Wishes:
        return self.start(now) if now - self._looked >= LOOK_S else []

    def press(self, key: str, now: float) -> Wishes:
        if key in ("up", "k", "down"):
            self.place = (self.place + (1 if key == "down" else -1)) % len(ENTRIES)
            return []
        if key in ("home", "end"):
            self.place = 0 if key == "home" else len(ENTRIES) - 1
            return []
        if key in ("q", "esc"):
            return [Quit() if key == "q" else Leave()]
        if key == "enter":
            return [Open(ENTRIES[self.place].make())]
        place = next((index for index, entry in enumerate(ENTRIES) if entry.key == key), None)
        return self.click(str(place), now) if place is not None else []

    def click(self, target: str, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        self.place = int(target)
        return [Open(ENTRIES[self.place].make())]

    def view(self, columns: int, rows: int, now: float) -> Page:  # noqa: ARG002 every screen is told the time
        state: Line = [("alarm", f" {cells.escape(self.problem)} ")] if self.problem else [("title", " connected ")]
        head: list[Line] = [spread([("title", " SwarmSync ")], state, columns), self._counts(), []]
        body: list[Line] = []
        targets = {}
        for index, entry in enumerate(ENTRIES):
            targets[len(head) + len(body)] = str(index)
            line: Line = [("key", f" {entry.key} "), ("", f" {entry.name:<14}"), ("dim", entry.summary)]
            body.append(chosen(line) if index == self.place else line)
        foot = [
            text(f"$ {ENTRIES[self.place].command}", "dim"),
            keys((("up down", "choose"), ("enter", "open"), ("q", "quit"))),
        ]
        return Page(frame(head, body, foot, columns, rows), targets)

    def _counts(self) -> Line:
        jobs = {state: count for state, count in (self.stats.get("jobs") or {}).items() if count}
        workers = self.stats.get("workers") or {}
        if not self.stats:
            return []
        words = ", ".join(f"{count} {state}" for state, count in jobs.items()) or "no job yet"
        return text(f"workers: {cells.plain(workers)}; jobs: {words}")
