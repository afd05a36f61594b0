"""What every screen is: a pure model that is told what happens and says what it wishes. Pure.

Screens never talk to Core. They return wishes, and what came of them arrives as messages. Times are seconds since the
epoch and are given by the caller.
"""

from typing import Any, Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from cli.tui.lines import Page

Document = dict[str, Any]

#: How often a screen looks at what no event tells of.
LOOK_S: Final = 2.0
#: What `page up` and `page down` say; a screen that knows its height goes as far as that.
PAGE_ROWS: Final = 10
#: Keys that move a cursor or scroll, in rows.
MOVES: Final = {
    "up": -1, "k": -1, "down": 1, "j": 1, "page up": -PAGE_ROWS, "page down": PAGE_ROWS,
    "home": -(1 << 30), "end": 1 << 30,
}  # fmt: skip


# --- wishes -----------------------------------------------------------------------------------------------------------


class Ask(Struct, frozen=True):
    """Call Core; Answer or Failed comes back with the same tag. A tag that is on its way already is not asked twice."""

    tag: str
    path: str
    query: Document = {}
    method: Literal["GET", "POST", "PATCH", "DELETE"] = "GET"
    body: Any = None
    pages: bool = False  # all pages of a list as one
    once: bool = False  # with an idempotency key, so that a repeated call makes nothing twice


class FollowEvents(Struct, frozen=True):
    """Tell every change from now on: first Began with what is, then Events; Link says whether Core is there."""


class FollowLogs(Struct, frozen=True):
    """Tell what this job writes, as Output; an empty job ends it."""

    job: str


class Open(Struct, frozen=True):
    """Put another screen on top of this one."""

    screen: "Screen"


class Leave(Struct, frozen=True):
    """Go back to the screen below; from the last one, out of the program."""


class Quit(Struct, frozen=True):
    pass


Wish: TypeAlias = Ask | FollowEvents | FollowLogs | Open | Leave | Quit
Wishes: TypeAlias = list[Wish]


# --- messages ---------------------------------------------------------------------------------------------------------


class Answer(Struct, frozen=True):
    tag: str
    document: Any


class Failed(Struct, frozen=True):
    """`gone` is True when Core is away: it will be asked again."""

    tag: str
    sentence: str
    gone: bool
    errors: tuple[tuple[str, str], ...] = ()  # (path, message) of each wrong field


class Began(Struct, frozen=True):
    """Every job that has not ended."""

    at: str
    items: list[Document]


class Events(Struct, frozen=True):
    items: list[Document]


class Link(Struct, frozen=True):
    """The stream of events broke, and why; an empty sentence when it is there again."""

    problem: str


class Output(Struct, frozen=True):
    """A piece of a job's output, or how it ended."""

    job: str
    text: str


Message: TypeAlias = Answer | Failed | Began | Events | Link | Output


class Screen(Protocol):
    """One screen. Every method but `view` may return wishes."""

    def start(self, now: float) -> Wishes: ...

    def press(self, key: str, now: float) -> Wishes: ...

    def click(self, target: str, now: float) -> Wishes: ...

    def take(self, message: Message, now: float) -> Wishes: ...

    def tick(self, now: float) -> Wishes: ...

    def view(self, columns: int, rows: int, now: float) -> Page: ...


class Prompt:
    """One line of text that is being edited."""

    def __init__(self, value: str = "") -> None:
        self.value = value
        self.place = len(value)

    def press(self, key: str) -> bool:
        """Take a key; False when it is none for editing."""
        before, after = self.value[: self.place], self.value[self.place :]
        match key:
            case "left":
                self.place = max(self.place - 1, 0)
            case "right":
                self.place = min(self.place + 1, len(self.value))
            case "home" | "ctrl a":
                self.place = 0
            case "end" | "ctrl e":
                self.place = len(self.value)
            case "backspace":
                self.value, self.place = before[:-1] + after, max(self.place - 1, 0)
            case "delete":
                self.value = before + after[1:]
            case "ctrl u":
                self.value, self.place = after, 0
            case _ if len(key) == 1 and key.isprintable():
                self.value, self.place = before + key + after, self.place + 1
            case _:
                return False
        return True
