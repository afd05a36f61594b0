"""One entry of a list of the menu, as its document. Pure."""

import shlex
from urllib.parse import quote

from cli import cells
from cli.output import to_yaml
from cli.tui.kinds import Kind
from cli.tui.lines import Line, Page, frame, keys, spread, text
from cli.tui.screens import LOOK_S, MOVES, Answer, Ask, Failed, Leave, Message, Quit, Wishes


class EntryScreen:
    """One entry of another list, as its document."""

    def __init__(self, kind: Kind, name: str) -> None:
        self._kind, self._name = kind, name
        self._lines = ["asking ..."]
        self._scroll = 0
        self._looked = 0.0

    def start(self, now: float) -> Wishes:
        self._looked = now
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

    def tick(self, now: float) -> Wishes:
        return self.start(now) if now - self._looked >= LOOK_S else []

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
        pairs = (("up down", "scroll"), ("esc", "back"), ("q", "quit"))
        foot = [text(f"$ {show} {shlex.quote(self._name)}", "dim"), keys(pairs)]
        body = [text(line) for line in self._lines[self._scroll :]]
        return Page(frame(head, body, foot, columns, rows))
