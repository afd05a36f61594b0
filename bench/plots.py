"""Figures as SVG: grouped bars where the x axis has words, lines where it has numbers. Pure, and needs nothing else."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from msgspec import Struct

Point = tuple[str | float, float]

_WIDTH: Final = 760
_HEIGHT: Final = 340
_LEFT: Final = 86
_RIGHT: Final = 16
_TOP: Final = 40
_BOTTOM: Final = 52
_LEGEND: Final = 18
_COLOURS: Final = ("#1f6feb", "#8250df", "#57606a", "#bf8700", "#cf222e", "#1a7f37", "#0969da", "#953800")


class Chart(Struct, frozen=True):
    """One picture. All series have points of one kind: words (bars) or numbers (lines)."""

    title: str
    unit: str
    series: dict[str, list[Point]]
    logarithmic: bool = False
    x_unit: str = ""


def render(charts: Sequence[Chart]) -> str:
    """Return one SVG document with the charts below each other."""
    parts, top = [], 0
    for chart in charts:
        body, height = _chart(chart)
        parts.append(f'<g transform="translate(0 {top})">{body}</g>')
        top += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}" '
        f'font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def short(value: float) -> str:
    """Write a number as an axis would: 12k, 3.4M, 0.25."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def ticks(low: float, high: float, *, logarithmic: bool) -> list[float]:
    """Return round values from `low` to `high` for an axis, three to ten of them."""
    if logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return [10.0**power for power in range(first, last + 1)]
    high = high if high > low else low + 1
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [low + step * number for number in range(math.ceil((high - low) / step - 1e-9) + 1)]


class _Axis(Struct, frozen=True):
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(max(value, self.low)), math.log10(low), math.log10(high)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)


def _chart(chart: Chart) -> tuple[str, int]:
    values = [y for points in chart.series.values() for _, y in points]
    if not values:
        return "", 0
    logarithmic = chart.logarithmic and min(values) > 0
    marks = ticks(min(values) if logarithmic else min(0.0, *values), max(values), logarithmic=logarithmic)
    bottom = _HEIGHT - _BOTTOM
    axis = _Axis(marks[0], marks[-1], bottom, _TOP, logarithmic)
    parts = [f'<text x="{_LEFT}" y="20" font-size="14" font-weight="600">{escape(chart.title)}</text>']
    for mark in marks:
        y = axis.at(mark)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(short(mark))}</text>')
    parts.append(f'<text x="12" y="{_TOP - 8}" fill="#57606a">{escape(chart.unit)}</text>')
    first = next(points for points in chart.series.values() if points)
    parts += _bars(chart, axis) if isinstance(first[0][0], str) else _lines(chart, axis)
    parts += _legend(chart)
    return "".join(parts), _HEIGHT + _LEGEND * math.ceil(len(chart.series) / 4)


def _bars(chart: Chart, axis: _Axis) -> list[str]:
    words = list(dict.fromkeys(str(x) for points in chart.series.values() for x, _ in points))
    slot = (_WIDTH - _LEFT - _RIGHT) / len(words)
    width = min(slot * 0.8 / len(chart.series), 48)
    parts = []
    for number, points in enumerate(chart.series.values()):
        shift = (number - len(chart.series) / 2) * width
        for x, y in points:
            left = _LEFT + (words.index(str(x)) + 0.5) * slot + shift
            top, foot = sorted((axis.at(y), axis.start))
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{width * 0.92:.1f}" height="{max(foot - top, 0.5):.1f}" '
                f'fill="{_COLOURS[number % len(_COLOURS)]}"><title>{escape(str(x))}: {short(y)}</title></rect>'
            )
    for number, word in enumerate(words):
        x = _LEFT + (number + 0.5) * slot
        parts.append(f'<text x="{x:.1f}" y="{axis.start + 18:.1f}" text-anchor="middle">{escape(word)}</text>')
    return parts


def _lines(chart: Chart, axis: _Axis) -> list[str]:
    xs = sorted({float(x) for points in chart.series.values() for x, _ in points})
    wide = xs[0] > 0 and xs[-1] / xs[0] >= 100
    across = _Axis(xs[0], xs[-1], _LEFT + 12, _WIDTH - _RIGHT - 24, wide)
    parts = []
    for number, points in enumerate(chart.series.values()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(across.at(float(x)), axis.at(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    shown = xs if len(xs) <= 10 else xs[:: math.ceil(len(xs) / 10)]
    for value in shown:
        x = across.at(value)
        parts.append(f'<text x="{x:.1f}" y="{axis.start + 18:.1f}" text-anchor="middle">{short(value)}</text>')
    x = _WIDTH - _RIGHT
    parts.append(
        f'<text x="{x}" y="{axis.start + 34:.1f}" text-anchor="end" fill="#57606a">{escape(chart.x_unit)}</text>'
    )
    return parts


def _legend(chart: Chart) -> list[str]:
    parts = []
    for number, name in enumerate(chart.series):
        x = _LEFT + (number % 4) * (_WIDTH - _LEFT) / 4
        y = _HEIGHT - 4 + (number // 4) * _LEGEND
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="{y - 10}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14:.1f}" y="{y}">{escape(name)}</text>')
    return parts
