"""Lines of styled text, and how they are fitted to a screen. Pure.

A line is a list of (style, text); a style is a name of the palette in `widgets.py`, or empty.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from cli.cells import cut, escape, width

#: A column that is wider may be cut to this.
CUT_MIN: Final = 12
KEY_ROWS_MAX: Final = 2

Segment = tuple[str, str]
Line = list[Segment]

_STYLES: Final = {
    "good": ("succeeded", "ready", "open", "fired", "active"),
    "busy": ("running", "starting", "stopping", "joining", "queued"),
    "bad": ("failed", "timed_out", "lost", "expired", "error", "missed", "down", "late", "failing", "unknown"),
    "warn": ("suspect", "cancelled", "cordoned", "draining", "drained", "quarantined", "warning", "held", "paused"),
    "dim": ("offline", "debug", "scheduled", "blocked", "skipped", "ended"),
}
_STYLE_OF: Final = {word: style for style, words in _STYLES.items() for word in words}


class Page(Struct):
    """What one screen shows: lines from the top, rows that can be clicked, and the cursor where text is edited."""

    lines: list[Line]
    targets: dict[int, str] = {}
    cursor: tuple[int, int] | None = None  # column, row


def style_of(word: str) -> str:
    """Return the style of a state or level."""
    return _STYLE_OF.get(word, "")


def text(words: str, style: str = "") -> Line:
    return [(style, escape(words))]


def fitted(line: Line, columns: int) -> Line:
    """Return the line in exactly `columns` columns: cut with an ellipsis, or filled up in its last style."""
    done: Line = []
    left = columns
    for style, words in line:
        if left <= 0:
            break
        shown = cut(words, left)
        done.append((style, shown))
        left -= width(shown)
    if left > 0:
        last = done[-1][0] if done and done[-1][0] in ("chosen", "title", "foot") else ""
        done.append((last, " " * left))
    return done


def chosen(line: Line) -> Line:
    """Return the line as the one that the cursor is on."""
    return [("chosen", "".join(words for _, words in line))]


def spread(left: Line, right: Line, columns: int) -> Line:
    """Return `left` and `right` at the two ends of a line; where both do not fit, `left` is cut."""
    taken = sum(width(words) for _, words in right)
    room = max(columns - taken, 0)
    style = left[-1][0] if left else ""
    start = fitted(left, room)
    return (
        [*start[:-1], (style if not start[-1][1].strip() else start[-1][0], start[-1][1]), *right] if start else right
    )


def bar(share: float, columns: int) -> str:
    """Return a bar such as `[####------]` for a share of 0 to 1."""
    inner = max(columns - 2, 1)
    full = min(max(round(share * inner), 0), inner)
    if share > 0 and not full:
        full = 1
    return f"[{'#' * full}{'-' * (inner - full)}]"


def table(rows: Sequence[Sequence[str]], columns: int, *, styles: bool = True) -> list[Line]:
    """Return rows of cells as aligned lines; columns that do not fit are left out from the right.

    A column of long texts is shown where its beginning fits, and cut.
    """
    if not rows:
        return []
    widths = [max(width(row[index]) for row in rows) for index in range(len(rows[0]))]
    shown, used = 0, 0
    for size in widths:
        if shown and used + min(size, CUT_MIN) > columns:
            break
        shown, used = shown + 1, used + size + 2
    lines = []
    for row in rows:
        line: Line = []
        for index in range(shown):
            cell = row[index]
            gap = 2 if index < shown - 1 else 0
            line.append((style_of(cell) if styles else "", cell + " " * (widths[index] - width(cell) + gap)))
        lines.append(line)
    return lines


def wrapped(words: str, columns: int) -> list[str]:
    """Return a text in lines of at most `columns` columns, broken at blanks where there are any."""
    lines: list[str] = []
    for paragraph in words.split("\n"):
        rest = paragraph
        while width(rest) > columns:
            head = _head(rest, columns)
            blank = head.rfind(" ")
            if blank > columns // 2:
                head = head[: blank + 1]
            lines.append(head.rstrip())
            rest = rest[len(head) :]
        lines.append(rest)
    return lines


def _head(words: str, columns: int) -> str:
    """Return as many leading letters as fit; one at least."""
    if words.isascii():
        return words[:columns]
    kept = words[:1]
    for letter in words[1:]:
        if width(kept + letter) > columns:
            break
        kept += letter
    return kept


def window(count: int, selected: int, top: int, room: int) -> int:
    """Return the first shown row so that `selected` is in sight and no room is wasted."""
    if room <= 0:
        return 0
    top = min(top, selected)
    top = max(top, selected - room + 1)
    return max(0, min(top, count - room))


def keys(pairs: Iterable[tuple[str, str]]) -> Line:
    """Return the line that explains keys."""
    line: Line = []
    for key, meaning in pairs:
        line += [("key", f" {key} "), ("foot", f"{meaning} ")]
    return line


def key_rows(pairs: Iterable[tuple[str, str]], columns: int) -> list[Line]:
    """Return what explains keys, in two lines where one is too short: a key that nobody sees is none."""
    rows: list[Line] = [[]]
    left = columns
    for pair in pairs:
        words = keys([pair])
        size = sum(width(part) for _, part in words)
        if size > left and rows[-1]:
            rows.append([])
            left = columns
        rows[-1] += words
        left -= size
    return rows[:KEY_ROWS_MAX]


def frame(head: list[Line], body: list[Line], foot: list[Line], columns: int, rows: int) -> list[Line]:
    """Return a full screen: `head` on top, `foot` at the bottom, `body` between, cut or filled up."""
    room = max(rows - len(head) - len(foot), 0)
    middle = [*body[:room], *([] for _ in range(room - len(body)))]
    return [fitted(line, columns) for line in [*head, *middle, *foot][:rows]]
