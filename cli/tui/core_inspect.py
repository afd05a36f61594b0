"""CoreInspect: the engine's modules at work, which one holds the others up, and what the selected one logs. Pure."""

import shlex
from typing import Final

from cli import cells
from cli.tui import core_board
from cli.tui.lines import Line, Page, chosen, frame, keys, spread, style_of, table, text, wrapped
from cli.tui.screens import Answer, Ask, Document, Failed, Leave, Message, Prompt, Quit, Wishes

#: The supervisor writes its figures about three times a second.
FIGURES_S: Final = 0.25
LOGS_S: Final = 1.0
RECORDS_MAX: Final = 500
LEVELS: Final = ("debug", "info", "warning", "error")
_KEYS: Final = (("up down", "module"), ("/", "search its log"), ("v", "level"), ("esc", "back"), ("q", "quit"))


class CoreInspect:
    """The state of the screen."""

    def __init__(self) -> None:
        self.modules: list[Document] = []
        self.problem = "connecting ..."
        self.selected = "harvester"
        self.level = "debug"
        self.words = ""
        self.prompt: Prompt | None = None
        self._records: dict[str, Document] = {}
        self._refusal = ""
        self._figures_at = self._logs_at = 0.0

    def start(self, now: float) -> Wishes:
        return self._ask(now)

    def take(self, message: Message, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        match message:
            case Answer(tag="modules", document=document):
                self.modules, self.problem = document["items"], ""
            case Failed(tag="modules", sentence=sentence, gone=gone):
                self.problem = f"reconnecting: {sentence}" if gone else sentence
            case Answer(tag=tag, document=document) if tag == self._logs_tag():
                self._refusal = ""
                for record in reversed(document["items"]):
                    self._records[record["id"]] = record
                for old in list(self._records)[:-RECORDS_MAX]:
                    del self._records[old]
            case Failed(tag=tag, sentence=sentence) if tag == self._logs_tag():
                self._refusal = sentence
            case _:
                pass
        return []

    def tick(self, now: float) -> Wishes:
        return self._ask(now)

    def press(self, key: str, now: float) -> Wishes:
        if self.prompt:
            return self._edit(key, now)
        names = [module["name"] for module in self.modules]
        match key:
            case "up" | "k" | "down" | "j" if names:
                place = names.index(self.selected) if self.selected in names else 0
                step = -1 if key in ("up", "k") else 1
                return self._select(names[min(max(place + step, 0), len(names) - 1)], now)
            case "v":
                self.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]
                return self._begin_logs(now)
            case "/":
                self.prompt = Prompt(self.words)
            case "esc" | "backspace":
                return [Leave()]
            case "q":
                return [Quit()]
            case _:
                pass
        return []

    def click(self, target: str, now: float) -> Wishes:
        return self._select(target, now)

    def _edit(self, key: str, now: float) -> Wishes:
        assert self.prompt is not None
        if key == "enter":
            self.words, self.prompt = self.prompt.value, None
            return self._begin_logs(now)
        if key == "esc":
            self.prompt = None
        else:
            self.prompt.press(key)
        return []

    def _select(self, name: str, now: float) -> Wishes:
        if name == self.selected:
            return []
        self.selected = name
        return self._begin_logs(now)

    def _begin_logs(self, now: float) -> Wishes:
        self._records, self._logs_at = {}, 0.0
        return self._ask(now)

    def _ask(self, now: float) -> Wishes:
        wishes: Wishes = []
        if now - self._figures_at >= FIGURES_S:
            self._figures_at = now
            wishes.append(Ask("modules", "/v1/modules"))
        if now - self._logs_at >= LOGS_S:
            self._logs_at = now
            newest = next(reversed(self._records.values()), None)
            query = {"source": self.selected, "level": self.level, "q": self.words, "limit": 100}
            wishes.append(Ask(self._logs_tag(), "/v1/logs", {**query, "since": newest and newest["at"]}))
        return wishes

    def _logs_tag(self) -> str:
        return f"logs:{self.selected}:{self.level}:{self.words}"

    # --- what is shown ------------------------------------------------------------------------------------------------

    def command(self) -> str:
        words = ["consumer", "log", "follow", "--source", self.selected, "--level", self.level]
        return "consumer inspect core; " + shlex.join(words)

    def view(self, columns: int, rows: int, now: float) -> Page:  # noqa: ARG002 every screen is told the time
        name, sentence = core_board.bottleneck(self.modules) if self.modules else ("", "")
        state: Line = [("alarm", f" {cells.escape(self.problem)} ")] if self.problem else [("title", " LIVE ")]
        head = [spread([("title", " CoreInspect ")], state, columns), text(sentence, "bad" if name else "good")]
        wide = columns >= 120
        header = [*core_board.HEADER, *(["PURPOSE"] if wide else [])]
        cells_of = [
            [*core_board.row(module), *([cells.plain(module.get("purpose"))] if wide else [])]
            for module in self.modules
        ]
        lines = table([header, *cells_of], columns)
        body: list[Line] = [[("head", words) for _, words in line] for line in lines[:1]]
        targets = {}
        for module, line in zip(self.modules, lines[1:], strict=True):
            targets[len(head) + len(body)] = module["name"]
            mark = ("bad" if module["name"] == name else line[0][0], line[0][1])
            body.append(chosen(line) if module["name"] == self.selected else [mark, *line[1:]])
        foot = self._foot()
        room = rows - len(head) - len(body) - len(foot)
        body += self._selected(columns, max(room, 0))
        cursor = (len("search: ") + self.prompt.place, rows - 2) if self.prompt else None
        return Page(frame(head, body, foot, columns, rows), targets, cursor)

    def _selected(self, columns: int, room: int) -> list[Line]:
        """Return the selected module from close by, and its log up to the newest record."""
        module = next((module for module in self.modules if module["name"] == self.selected), None)
        if module is None:
            return []
        lines: list[Line] = [[], [("head", module["name"]), ("", f": {cells.plain(module.get('purpose'))}")]]
        for ring, figures in (module.get("rings") or {}).items():
            words = (
                f"  ring {ring} from {figures.get('from', '-')}: {figures.get('fill', 0) * 100:.1f} % full,"
                f" {figures.get('waiting', 0)} waiting, {figures.get('taken_per_s', 0):.0f}/s,"
                f" {figures.get('dropped', 0)} dropped"
            )
            lines.append(text(words))
        error = module.get("last_error")
        if error:
            lines.append(text(f"  last error {error.get('at', '')}: {error.get('message', '')}", "bad"))
        search = f", with {self.words!r}" if self.words else ""
        lines.append(text(f"its log, {self.level} and above{search}:", "dim"))
        records = [line for record in self._records.values() for line in _record(record, columns)]
        if self._refusal:
            records = [text(self._refusal, "bad")]
        left = max(room - len(lines), 0)
        return [*lines, *(records[-left:] if left else [])]

    def _foot(self) -> list[Line]:
        if self.prompt:
            return [text(f"search: {self.prompt.value}"), keys((("enter", "apply"), ("esc", "leave")))]
        return [text(f"$ {self.command()}", "dim"), keys(_KEYS)]


def _record(record: Document, columns: int) -> list[Line]:
    level = cells.plain(record.get("level"))
    lines = wrapped(cells.escape(str(record.get("message") or "")), max(columns - 18, 20))
    first: Line = [("dim", f"{str(record.get('at'))[11:19]} "), (style_of(level), f"{level:<8}"), ("", lines[0])]
    return [first, *([("", " " * 17 + line)] for line in lines[1:])]
