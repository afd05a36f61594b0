"""A list of the menu: filtered, sorted, refreshed, with an entry to open and keys that change it. Pure."""

import re
import shlex
from datetime import UTC, datetime
from typing import Any, Final

from cli import cells
from cli.output import Column, cell
from cli.tui import forms
from cli.tui.acting import Acting
from cli.tui.detail import JobDetail
from cli.tui.entry import EntryScreen
from cli.tui.kinds import JOBS, Kind, members_of
from cli.tui.lines import Line, Page, chosen, frame, key_rows, keys, spread, table, text, window
from cli.tui.screens import (
    LOOK_S,
    MOVES,
    PAGE_ROWS,
    Answer,
    Ask,
    Document,
    Failed,
    FollowLogs,
    Leave,
    Message,
    Open,
    Prompt,
    Quit,
    Wishes,
)  # fmt: skip

LIMIT: Final = 200
LIMIT_MAX: Final = 1_000


class ListScreen:
    """The state of one list. `selected` names the entry under the cursor, which stays there when rows move."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.items: list[Document] = []
        self.problem = "asking ..."
        self.words = ""
        self.prompt: Prompt | None = None
        self.acting = Acting(kind)
        self.view_name = next(iter(kind.views))
        self.sort: int | None = None  # a column of `shown_columns`
        self.reverse = False
        self.selected = ""
        self.top = 0
        self._limit = LIMIT
        self._looked = 0.0
        self._room = 10  # rows of entries on the screen
        self._asked: dict[str, Any] = {}  # the filters that Core applies

    def start(self, now: float) -> Wishes:
        self._looked = now
        query = {**self.kind.views[self.view_name], **self._asked, "limit": self._limit}
        return [Ask(self._tag(), self.kind.path, query)]

    def take(self, message: Message, now: float) -> Wishes:
        match message:
            case Answer(tag=tag, document=document) if tag == self._tag():
                self.items, self.problem = document["items"], ""
            case Failed(tag=tag, sentence=sentence, gone=gone) if tag == self._tag():
                self.problem = f"reconnecting: {sentence}" if gone else sentence
            case _:
                return self.start(now) if self.acting.take(message) else []
        return []

    def tick(self, now: float) -> Wishes:
        return self.start(now) if now - self._looked >= LOOK_S else []

    def press(self, key: str, now: float) -> Wishes:
        if self.prompt:
            return self._edit(key, now)
        if self.acting.asks:
            return self.acting.answer(key)
        self.acting.notice = ""
        if key in MOVES:
            self._move(MOVES[key])
            return []
        if key in self.kind.actions:
            entry = self.chosen_entry()
            return [] if entry is None else self.acting.begin(self.kind.actions[key], self.name_of(entry))
        match key:
            case "enter":
                return self._open()
            case "esc" | "backspace":
                return [Leave()]
            case "q":
                return [Quit()]
            case "/":
                self.prompt = Prompt(self.words)
            case "s":
                views = list(self.kind.views)
                self.view_name = views[(views.index(self.view_name) + 1) % len(views)]
                return self.start(now)
            case "o":
                self.sort = 0 if self.sort is None else (self.sort + 1) % len(self.shown_columns())
            case "O":
                self.reverse = not self.reverse
            case "m":
                self._limit = min(self._limit + LIMIT, LIMIT_MAX)
                return self.start(now)
            case "n" if self.kind.form:
                return [Open(forms.FormScreen(forms.FORMS[self.kind.form]))]
            case _:
                pass
        return []

    def click(self, target: str, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        if target == self.selected:
            return self._open()
        self.selected = target
        return []

    # --- keys ---------------------------------------------------------------------------------------------------------

    def _edit(self, key: str, now: float) -> Wishes:
        """The list follows what is typed; Core is asked once a filter of its own (`user=ann`) is whole."""
        assert self.prompt is not None
        if key in ("enter", "esc"):
            asked, self.words = self._tag(), "" if key == "esc" else self.prompt.value
            self.prompt, self._asked = None, split_words(self.kind, self.words)[0]
            return self.start(now) if self._tag() != asked else []
        if self.prompt.press(key):
            self.words = self.prompt.value
        return []

    def _move(self, rows: int) -> None:
        shown = self.rows()
        place = next((index for index, item in enumerate(shown) if self.name_of(item) == self.selected), 0)
        if shown:
            step = rows if abs(rows) != PAGE_ROWS else self._room * (1 if rows > 0 else -1)
            self.selected = self.name_of(shown[min(max(place + step, 0), len(shown) - 1)])

    def _open(self) -> Wishes:
        entry = self.chosen_entry()
        if entry is None:
            return []
        name = self.name_of(entry)
        return [Open(JobScreen(name) if self.kind.name == "jobs" else EntryScreen(self.kind, name))]

    # --- what is shown ------------------------------------------------------------------------------------------------

    def name_of(self, item: Document) -> str:
        return str(item[self.kind.field])

    def chosen_entry(self) -> Document | None:
        shown = self.rows()
        return next((item for item in shown if self.name_of(item) == self.selected), shown[0] if shown else None)

    def shown_columns(self, *, wide: bool = False) -> list[Column]:
        return [column for column in self.kind.columns if wide or not column.wide]

    def rows(self) -> list[Document]:
        """Return the entries that contain what was typed, in order."""
        now = datetime.fromtimestamp(self._looked, UTC)
        columns = self.shown_columns()
        wanted = split_words(self.kind, self.words)[1].lower()
        found = [
            item
            for item in self.items
            if not wanted or any(wanted in cell(column, item, now).lower() for column in self.kind.columns)
        ]
        if self.sort is not None:
            column = columns[self.sort]
            found.sort(key=lambda item: _sort_key(cell(column, item, now)))
        return found[::-1] if self.reverse else found

    def command(self) -> str:
        """Return the command line that shows the same."""
        words = self.kind.command
        if self.view_name != next(iter(self.kind.views)):
            words += f" --{self.view_name}" if self.kind.flag == "--" else f" {self.kind.flag} {self.view_name}"
        for name, value in self._asked.items():
            for part in [value] if isinstance(value, str) else value:
                words += f" --{name} {shlex.quote(part)}"
        rest = split_words(self.kind, self.words)[1]
        if self.kind.name == "logs" and rest:
            words += f" --text {shlex.quote(rest)}"
        return f"{words} | grep -i {shlex.quote(rest)}" if rest and self.kind.name != "logs" else words

    def view(self, columns: int, rows: int, now: float) -> Page:
        moment = datetime.fromtimestamp(now, UTC)
        shown = self.rows()
        parts = self.shown_columns(wide=columns >= 160)
        head = [self._title(columns, len(shown))]
        foot = self._foot(columns)
        room = self._room = max(rows - len(head) - len(foot) - 1, 1)
        place = next((index for index, item in enumerate(shown) if self.name_of(item) == self.selected), None)
        if place is None:
            place, self.selected = 0, self.name_of(shown[0]) if shown else ""
        self.top = window(len(shown), place, self.top, room)
        part = shown[self.top : self.top + room]
        marks = [self._mark(index) for index in range(len(parts))]
        header = [column.name.upper() + mark for column, mark in zip(parts, marks, strict=True)]
        lines = table([header, *([cell(column, item, moment) for column in parts] for item in part)], columns)
        body: list[Line] = [[("head", words) for _, words in line] for line in lines[:1]]
        targets = {}
        for item, line in zip(part, lines[1:], strict=True):
            name = self.name_of(item)
            targets[len(head) + len(body)] = name
            body.append(chosen(line) if name == self.selected else line)
        if not part and not self.problem:
            body.append([("dim", "nothing to show" + (" that contains this" if self.words else ""))])
        cursor = None
        if self.prompt:
            cursor = (len("find: ") + cells.width(self.prompt.value[: self.prompt.place]), rows - 2)
        return Page(frame(head, body, foot, columns, rows), targets, cursor)

    def _mark(self, index: int) -> str:
        return "" if index != self.sort else "-" if self.reverse else "+"

    def _title(self, columns: int, count: int) -> Line:
        state: Line = [("alarm", f" {cells.escape(self.problem)} ")] if self.problem else [("title", f" {count} ")]
        title: Line = [("title", f" {self.kind.title} "), ("", f" {self.view_name}")]
        return spread([*title, *self.acting.said()], state, columns)

    def _foot(self, columns: int) -> list[Line]:
        if self.prompt:
            known = f"{self.kind.filters[0]}=..." if self.kind.filters else ""
            names = " ".join(self.kind.filters)
            pairs = [("enter", "keep"), ("esc", "show all"), *([(known, f"asks Core; also {names}")] if known else [])]
            return [text(f"find: {self.words}"), spread(keys(pairs), [], columns)]
        if self.acting.asks:
            return self.acting.question()
        first = text(f"$ {self.command()}", "dim")
        pairs = [("enter", "open"), *([("n", "new")] if self.kind.form else []), ("/", "find"), ("o", "sort")]
        pairs += [("s", "which")] if len(self.kind.views) > 1 else []
        pairs += [(key, action.label) for key, action in self.kind.actions.items()]
        return [first, *key_rows([*pairs, ("esc", "back"), ("q", "quit")], columns)]

    def _tag(self) -> str:
        filters = "".join(f":{name}={value}" for name, value in self._asked.items())
        return f"{self.kind.name}:{self.view_name}{filters}"


class JobScreen:
    """One job on a screen of its own, with the keys that its list has for it; from an array its members open."""

    def __init__(self, job: str) -> None:
        self._detail = JobDetail(job)
        self._acting = Acting(JOBS)

    def start(self, now: float) -> Wishes:
        return self._detail.start(now)

    def take(self, message: Message, now: float) -> Wishes:
        self._detail.take(message)
        return self._detail.changed(now) if self._acting.take(message) else []

    def tick(self, now: float) -> Wishes:
        return self._detail.tick(now)

    def press(self, key: str, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        if self._acting.asks:
            return self._acting.answer(key)
        self._acting.notice = ""
        match key:
            case "tab" | "enter":
                self._detail.next_tab()
            case "esc" | "backspace":
                return [FollowLogs(""), Leave()]
            case "q":
                return [Quit()]
            case "m" if self._detail.is_array:
                return [Open(ListScreen(members_of(self._detail.job)))]
            case _ if key in MOVES:
                self._detail.scrolled(MOVES[key])
            case _ if key in JOBS.actions:
                return self._acting.begin(JOBS.actions[key], self._detail.job)
            case _:
                pass
        return []

    def click(self, target: str, now: float) -> Wishes:  # noqa: ARG002 the same
        self._detail.next_tab()
        return []

    def view(self, columns: int, rows: int, now: float) -> Page:  # noqa: ARG002 the same
        title: Line = [("title", " Job "), ("", f" {self._detail.name}"), *self._acting.said()]
        head: list[Line] = [spread(title, self._detail.standing(), columns)]
        foot = self._foot(columns)
        body = self._detail.lines(columns, rows - len(head) - len(foot))
        return Page(frame(head, body, foot, columns, rows), {1: "tab"})

    def _foot(self, columns: int) -> list[Line]:
        if self._acting.asks:
            return self._acting.question()
        verb = {"detail": "show", "why": "why", "logs": "logs -f"}[self._detail.tab]
        pairs = [
            ("tab", "detail, why, logs"),
            ("up down", "scroll"),
            *([("m", "members")] if self._detail.is_array else []),
        ]
        pairs += [(key, action.label) for key, action in JOBS.actions.items()]
        first = text(f"$ consumer job {verb} {self._detail.job}", "dim")
        return [first, *key_rows([*pairs, ("esc", "back"), ("q", "quit")], columns)]


def split_words(kind: Kind, words: str) -> tuple[dict[str, Any], str]:
    """Return the filters that Core applies, of `name=value` words, and what is left to look for."""
    filters: dict[str, Any] = {}
    rest = []
    for word in words.split():
        name, equals, value = word.partition("=")
        if not (equals and value and name in kind.filters):
            rest.append(word)
        elif name == "label":
            filters.setdefault(name, []).append(value)
        else:
            filters[name] = value
    return filters, " ".join(rest)


_AMOUNT: Final = re.compile(r"(?:in )?([+-]?\d+(?:\.\d+)?) ?([a-zA-Z%]*)(?:/.*)?")
_UNITS: Final = {
    "": 1.0, "%": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0,
    "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
}  # fmt: skip


def _sort_key(shown: str) -> tuple[int, float, str]:
    """Numbers, times and sizes by what they amount to, before words; nothing comes last."""
    amount = _AMOUNT.fullmatch(shown)
    if amount is not None and amount[2] in _UNITS:
        return (0, float(amount[1]) * _UNITS[amount[2]], "")
    return (2, 0.0, "") if shown == "-" else (1, 0.0, shown.lower())
