"""A list of the menu: filtered, sorted, refreshed, with an entry to open and keys that change it. Pure."""

import shlex
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from cli import cells
from cli.output import Column, cell, to_yaml
from cli.tui import forms
from cli.tui.detail import JobDetail
from cli.tui.kinds import Action, Kind
from cli.tui.lines import Line, Page, chosen, frame, keys, spread, table, text, window
from cli.tui.screens import (
    LOOK_S,
    MOVES,
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
        self.notice = ""
        self.words = ""
        self.prompt: Prompt | None = None
        self.pending: tuple[Action, str] | None = None  # waits for a yes
        self.view_name = next(iter(kind.views))
        self.sort: int | None = None  # a column of `shown_columns`
        self.reverse = False
        self.selected = ""
        self.top = 0
        self._limit = LIMIT
        self._looked = 0.0

    def start(self, now: float) -> Wishes:
        self._looked = now
        return [Ask(self._tag(), self.kind.path, {**self.kind.views[self.view_name], "limit": self._limit})]

    def take(self, message: Message, now: float) -> Wishes:
        match message:
            case Answer(tag=tag, document=document) if tag == self._tag():
                self.items, self.problem = document["items"], ""
            case Failed(tag=tag, sentence=sentence, gone=gone) if tag == self._tag():
                self.problem = f"reconnecting: {sentence}" if gone else sentence
            case Answer(tag="act"):
                self.notice = f"{self.notice}: done"
                return self.start(now)
            case Failed(tag="act", sentence=sentence):
                self.notice = f"{self.notice}: {sentence}"
            case _:
                pass
        return []

    def tick(self, now: float) -> Wishes:
        return self.start(now) if now - self._looked >= LOOK_S else []

    def press(self, key: str, now: float) -> Wishes:
        if self.prompt:
            self._edit(key)
            return []
        if self.pending:
            return self._confirm(key)
        self.notice = ""
        if key in MOVES:
            self._move(MOVES[key])
            return []
        if key in self.kind.actions:
            return self._act(self.kind.actions[key])
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

    def _edit(self, key: str) -> None:
        assert self.prompt is not None
        if key in ("enter", "esc"):
            self.words = "" if key == "esc" else self.prompt.value
            self.prompt = None
        elif self.prompt.press(key):
            self.words = self.prompt.value  # the list follows what is typed

    def _confirm(self, key: str) -> Wishes:
        assert self.pending is not None
        (action, name), self.pending = self.pending, None
        return self._do(action, name) if key in ("y", "Y") else []

    def _act(self, action: Action) -> Wishes:
        entry = self.chosen_entry()
        if entry is None:
            return []
        name = self.name_of(entry)
        if action.asks:
            self.pending = (action, name)
            return []
        return self._do(action, name)

    def _do(self, action: Action, name: str) -> Wishes:
        self.notice = f"{action.command} {shlex.quote(name)}"
        path = f"{self.kind.path}/{quote(name, safe='')}" + (f"/{action.path}" if action.path else "")
        return [Ask("act", path, method=action.method)]

    def _move(self, rows: int) -> None:
        shown = self.rows()
        place = next((index for index, item in enumerate(shown) if self.name_of(item) == self.selected), 0)
        if shown:
            self.selected = self.name_of(shown[min(max(place + rows, 0), len(shown) - 1)])

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
        now = datetime(1970, 1, 1, tzinfo=UTC)  # ages are not searched for
        columns, wanted = self.shown_columns(), self.words.lower()
        found = [
            item
            for item in self.items
            if not self.words or any(wanted in cell(column, item, now).lower() for column in self.kind.columns)
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
        if self.kind.name == "logs" and self.words:
            words += f" --text {shlex.quote(self.words)}"
        return f"{words} | grep -i {shlex.quote(self.words)}" if self.words and self.kind.name != "logs" else words

    def view(self, columns: int, rows: int, now: float) -> Page:
        moment = datetime.fromtimestamp(now, UTC)
        shown = self.rows()
        parts = self.shown_columns(wide=columns >= 160)
        head = [self._title(columns, len(shown))]
        foot = self._foot(columns)
        room = max(rows - len(head) - len(foot) - 1, 1)
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
        return spread([*title, ("warn", f"  {cells.escape(self.notice)}")], state, columns)

    def _foot(self, columns: int) -> list[Line]:
        if self.prompt:
            return [text(f"find: {self.words}"), keys((("enter", "keep"), ("esc", "show all")))]
        if self.pending:
            action, name = self.pending
            return [text(f"{action.command} {name}: are you sure?", "warn"), keys((("y", "yes"), ("any other", "no")))]
        first = text(f"$ {self.command()}", "dim")
        pairs = [("enter", "open"), *([("n", "new")] if self.kind.form else []), ("/", "find"), ("o", "sort")]
        pairs += [("s", "which")] if len(self.kind.views) > 1 else []
        pairs += [(key, action.label) for key, action in self.kind.actions.items()]
        return [first, spread(keys([*pairs, ("esc", "back")]), [], columns)]

    def _tag(self) -> str:
        return f"{self.kind.name}:{self.view_name}"


class JobScreen:
    """One job on a screen of its own."""

    def __init__(self, job: str) -> None:
        self._detail = JobDetail(job)
        self._rows = 10

    def start(self, now: float) -> Wishes:
        return self._detail.start(now)

    def take(self, message: Message, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        self._detail.take(message)
        return []

    def tick(self, now: float) -> Wishes:
        return self._detail.tick(now)

    def press(self, key: str, now: float) -> Wishes:  # noqa: ARG002 the same
        match key:
            case "tab" | "enter":
                self._detail.next_tab()
            case "esc" | "backspace":
                return [FollowLogs(""), Leave()]
            case "q":
                return [Quit()]
            case _ if key in MOVES:
                self._detail.scrolled(MOVES[key])
            case _:
                pass
        return []

    def click(self, target: str, now: float) -> Wishes:  # noqa: ARG002 the same
        self._detail.next_tab()
        return []

    def view(self, columns: int, rows: int, now: float) -> Page:  # noqa: ARG002 the same
        verb = {"detail": "show", "why": "why", "logs": "logs -f"}[self._detail.tab]
        foot = [text(f"$ consumer job {verb} {self._detail.job}", "dim"), keys(_JOB_KEYS)]
        head: list[Line] = [spread([("title", " Job ")], [], columns)]
        body = self._detail.lines(columns, rows - len(head) - len(foot))
        return Page(frame(head, body, foot, columns, rows), {1: "tab"})


_JOB_KEYS: Final = (("tab", "detail, why, logs"), ("up down", "scroll"), ("esc", "back"), ("q", "quit"))


class EntryScreen:
    """One entry of another list, as its document."""

    def __init__(self, kind: Kind, name: str) -> None:
        self._kind, self._name = kind, name
        self._lines = ["asking ..."]
        self._scroll = 0

    def start(self, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        return [Ask(f"entry:{self._name}", f"{self._kind.path}/{quote(self._name, safe='')}")]

    def take(self, message: Message, now: float) -> Wishes:  # noqa: ARG002 the same
        match message:
            case Answer(tag=tag, document=document) if tag == f"entry:{self._name}":
                self._lines = to_yaml(document).splitlines()
            case Failed(tag=tag, sentence=sentence) if tag == f"entry:{self._name}":
                self._lines = [sentence]
            case _:
                pass
        return []

    def tick(self, now: float) -> Wishes:  # noqa: ARG002 the same
        return []

    def press(self, key: str, now: float) -> Wishes:  # noqa: ARG002 the same
        match key:
            case "esc" | "backspace":
                return [Leave()]
            case "q":
                return [Quit()]
            case _ if key in MOVES:
                self._scroll = min(max(self._scroll + MOVES[key], 0), len(self._lines) - 1)
            case _:
                pass
        return []

    def click(self, target: str, now: float) -> Wishes:  # noqa: ARG002 the same
        return []

    def view(self, columns: int, rows: int, now: float) -> Page:  # noqa: ARG002 the same
        title: Line = [("title", f" {self._kind.title} "), ("", f" {cells.escape(self._name)}")]
        head = [spread(title, [], columns)]
        show = self._kind.command.removesuffix("list") + "show"
        foot = [text(f"$ {show} {shlex.quote(self._name)}", "dim"), keys((("up down", "scroll"), ("esc", "back")))]
        body = [text(line) for line in self._lines[self._scroll :]]
        return Page(frame(head, body, foot, columns, rows))


def _sort_key(shown: str) -> tuple[int, float, str]:
    """Numbers by size and before words."""
    try:
        return (0, float(shown), "")
    except ValueError:
        return (1, 0.0, shown.lower())
