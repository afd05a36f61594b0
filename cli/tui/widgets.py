"""The one file that knows urwid: a widget that shows a screen's lines, and the loop that brings keys and answers to it.

The terminal is put back as it was in every case: by urwid when the loop ends, also when it ends by an exception.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Final, assert_never

import urwid

from cli.tui.feed import Feed
from cli.tui.lines import Page, fitted
from cli.tui.screens import Ask, FollowEvents, FollowLogs, Leave, Open, Quit, Screen, Wishes
from swarmsync.client import Client

TICK_S: Final = 0.25
#: News that pour in are drawn this often at most; keys are always drawn at once.
DRAW_S: Final = 0.1
PALETTE: Final[list[Any]] = [
    # style, colour, background, monochrome
    ("good", "dark green", "default"),
    ("busy", "dark cyan", "default"),
    ("bad", "light red", "default", "bold"),
    ("warn", "brown", "default"),
    ("dim", "dark gray", "default"),
    ("head", "default,bold", "default", "bold"),
    ("title", "black", "dark cyan", "standout"),
    ("alarm", "white", "dark red", "standout"),
    ("chosen", "black", "light gray", "standout"),
    ("key", "black", "dark cyan", "standout"),
    ("foot", "default", "default"),
]
COLUMNS_MIN: Final = 40
ROWS_MIN: Final = 10


class PageWidget(urwid.Widget):
    """Shows the page that `draw` makes for the size at hand."""

    _sizing = frozenset([urwid.BOX])
    _selectable = True
    ignore_focus = True

    def __init__(
        self, draw: Callable[[int, int], Page], press: Callable[[str], None], click: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._draw, self._press, self._click = draw, press, click
        self._targets: dict[int, str] = {}
        self._cursor: tuple[int, int] | None = None

    def render(self, size: Any, focus: bool = False) -> urwid.Canvas:  # noqa: ARG002 urwid's signature
        columns, rows = size
        page = self._draw(columns, rows)
        self._targets, self._cursor = page.targets, page.cursor
        lines = [fitted(line, columns) for line in page.lines[:rows]]
        lines += [fitted([], columns) for _ in range(rows - len(lines))]
        texts: list[bytes] = []
        attributes: list[Any] = []
        for line in lines:
            coded = [(style, words.encode()) for style, words in line]
            texts.append(b"".join(words for _, words in coded))
            attributes.append([(style or None, len(words)) for style, words in coded])
        return urwid.TextCanvas(texts, attributes, cursor=self.get_cursor_coords(size), maxcol=columns)

    def get_cursor_coords(self, size: tuple[int, int]) -> tuple[int, int] | None:
        if self._cursor is None or self._cursor[0] >= size[0] or self._cursor[1] >= size[1]:
            return None
        return self._cursor

    def keypress(self, size: Any, key: str) -> str | None:  # noqa: ARG002 urwid's signature
        self._press(key)
        return None

    def mouse_event(  # urwid's signature
        self,
        size: Any,  # noqa: ARG002
        event: str,
        button: int,
        col: int,  # noqa: ARG002
        row: int,
        focus: bool,  # noqa: ARG002
    ) -> bool:
        if event == "mouse press" and button == 1 and row in self._targets:
            self._click(self._targets[row])
        elif event == "mouse press" and button in (4, 5):
            self._press("up" if button == 4 else "down")
        return True

    def refresh(self) -> None:
        self._invalidate()


class Program:
    """A stack of screens on one terminal; the last one is shown and hears everything."""

    def __init__(self, screen: Screen, connect: Callable[[float], Client]) -> None:
        self._screens = [screen]
        self._drawn = 0.0
        self._page = PageWidget(self._view, self._on_key, self._on_click)
        self._loop = urwid.MainLoop(self._page, PALETTE, unhandled_input=lambda _: True)
        self._pipe = self._loop.watch_pipe(self._on_news)
        self._feed = Feed(connect, self._wake)

    def run(self) -> None:
        """Show the screens until the last one is left."""
        self._do(self._screens[-1].start(time.time()))
        self._loop.set_alarm_in(TICK_S, self._on_tick)
        try:
            self._loop.run()
        except KeyboardInterrupt:
            pass
        finally:
            self._feed.close()

    def _wake(self) -> None:
        try:
            os.write(self._pipe, b"!")
        except OSError:
            return  # the loop has ended, nobody is left to be told

    def _view(self, columns: int, rows: int) -> Page:
        if columns < COLUMNS_MIN or rows < ROWS_MIN:
            return Page([[("warn", f"the terminal is too small: {COLUMNS_MIN}x{ROWS_MIN} at least")]])
        page = self._screens[-1].view(columns, rows, time.time())
        self._drawn = time.monotonic()
        return page

    def _on_key(self, key: str) -> None:
        if key == "ctrl l":
            self._loop.screen.clear()
        else:
            self._do(self._screens[-1].press(key, time.time()))
        self._page.refresh()

    def _on_click(self, target: str) -> None:
        self._do(self._screens[-1].click(target, time.time()))
        self._page.refresh()

    def _on_news(self, _data: bytes) -> bool:
        for message in self._feed.take():
            self._do(self._screens[-1].take(message, time.time()))
        if time.monotonic() - self._drawn >= DRAW_S:
            self._page.refresh()
        return True

    def _on_tick(self, loop: urwid.MainLoop, _data: object) -> None:
        self._do(self._screens[-1].tick(time.time()))
        self._page.refresh()
        loop.set_alarm_in(TICK_S, self._on_tick)

    def _do(self, wishes: Wishes) -> None:
        for wish in wishes:
            match wish:
                case Ask():
                    self._feed.ask(wish)
                case FollowEvents():
                    self._feed.follow_events(wish)
                case FollowLogs():
                    self._feed.follow_logs(wish)
                case Open(screen=screen):
                    self._screens.append(screen)
                    self._do(screen.start(time.time()))
                case Leave():
                    self._feed.follow_logs(FollowLogs(""))
                    self._screens.pop()
                    if not self._screens:
                        raise urwid.ExitMainLoop
                case Quit():
                    raise urwid.ExitMainLoop
                case _:
                    assert_never(wish)
