"""The language of constraints and affinities: what a job may demand, or wish, of a worker.

    worker.label.zone == eu           also != < <= > >=; numbers compare as numbers
    worker.label.zone in [eu, us]     also (eu, us), and `not in`
    worker.label.ssd                  the label exists; also `worker.label.ssd exists`, `worker.label.ssd not exists`
    worker.name, worker.runtime, worker.cpus, worker.memory, gpu.model, gpu.count
    image.local                       in affinities only: the worker has the job's image

`gpu.model` is the label of that name. A label that a worker does not have equals nothing: `!=` and `not in` hold, all
else does not. All constraints of a job must hold.
"""

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from swarmsync.model.resources import parse_size
from swarmsync.model.worker import WorkerView

LABEL: Final = "worker.label."
IMAGE_LOCAL: Final = "image.local"
_PLAIN: Final = ("worker.name", "worker.runtime", "worker.cpus", "worker.memory", "gpu.model", "gpu.count")
_NUMBERS: Final = ("worker.cpus", "worker.memory", "gpu.count")
_ORDERINGS: Final = ("<", "<=", ">", ">=")
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<operator>==|!=|<=|>=|<|>|=)|(?P<mark>[\[\](),])|"(?P<double>[^"]*)"|'(?P<single>[^']*)'"""
    r"""|(?P<word>[^\s\[\](),<>=!"']+))"""
)
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


class Demand(Struct, frozen=True):
    """One expression, read: `operator` is a comparison, "in", "not in", "exists" or "not exists"."""

    attribute: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.values:
            return f"{self.attribute} {self.operator}"
        listed = self.values[0] if self.operator not in ("in", "not in") else f"[{', '.join(self.values)}]"
        return f"{self.attribute} {self.operator} {listed}"

    def holds(self, worker: WorkerView, image: str = "") -> bool:
        """Tell whether the worker is as this says; `image` is the job's."""
        if self.attribute == IMAGE_LOCAL:
            return (image in worker.images) == (self.operator == "exists")
        value = _value(worker, self.attribute)
        match self.operator:
            case "exists":
                return value is not None
            case "not exists":
                return value is None
            case "==" | "in":
                return value is not None and any(_equal(self.attribute, value, each) for each in self.values)
            case "!=" | "not in":
                return value is None or not any(_equal(self.attribute, value, each) for each in self.values)
            case _:
                return value is not None and _ordered(self.attribute, value, self.operator, self.values[0])


@lru_cache(maxsize=16_384)
def parse(text: str) -> Demand:
    """Read one expression. Raises ValueError that names the place and the remedy."""
    tokens = _tokens(text)
    if not tokens:
        raise ValueError("is empty; write it like worker.label.zone == eu")
    place, kind, attribute = tokens[0]
    if kind != "word":
        raise _wrong(text, place, "expected what to look at, like worker.label.zone")
    _check_attribute(text, place, attribute)
    return _check_values(text, _operation(text, attribute, tokens[1:]))


def _tokens(text: str) -> list[tuple[int, str, str]]:
    """Split into (place, kind, text); kind is operator, mark, word or quoted."""
    found: list[tuple[int, str, str]] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise _wrong(text, place, "this cannot be read; quote a value that has such characters")
        kind = match.lastgroup or ""
        found.append((match.start(kind), "quoted" if kind in ("double", "single") else kind, match[kind]))
        place = match.end()
    return found


def _check_attribute(text: str, place: int, attribute: str) -> None:
    if attribute.startswith(LABEL):
        if not _KEY.fullmatch(attribute.removeprefix(LABEL)):
            raise _wrong(text, place, "a label's key follows worker.label., like worker.label.zone")
    elif attribute not in _PLAIN and attribute != IMAGE_LOCAL:
        known = ", ".join((f"{LABEL}KEY", *_PLAIN))
        raise _wrong(text, place, f"{attribute[:40]!r} is not known; known are {known}")


def _operation(text: str, attribute: str, rest: list[tuple[int, str, str]]) -> Demand:
    words = [word for _, kind, word in rest[:2] if kind == "word"]
    if not rest or (words == ["exists"] and len(rest) == 1):
        return Demand(attribute, "exists")
    if words == ["not", "exists"] and len(rest) == 2:
        return Demand(attribute, "not exists")
    place, kind, word = rest[0]
    if kind == "operator":
        if word == "=":
            raise _wrong(text, place, "write == to compare")
        if len(rest) != 2 or rest[1][1] not in ("word", "quoted"):
            raise _wrong(text, rest[2][0] if len(rest) > 2 else len(text), f"expected one value after {word}")
        return Demand(attribute, word, (rest[1][2],))
    if words[:1] == ["in"]:
        return Demand(attribute, "in", _listed(text, rest[1:]))
    if words == ["not", "in"]:
        return Demand(attribute, "not in", _listed(text, rest[2:]))
    raise _wrong(text, place, "expected ==, !=, <, <=, >, >=, in, not in or exists")


def _listed(text: str, rest: list[tuple[int, str, str]]) -> tuple[str, ...]:
    closing = {"[": "]", "(": ")"}
    if len(rest) < 3 or rest[0][1] != "mark" or closing.get(rest[0][2]) != rest[-1][2] or rest[-1][1] != "mark":
        raise _wrong(text, rest[0][0] if rest else len(text), "expected a list, like [eu, us]")
    values = []
    for index, (place, kind, word) in enumerate(rest[1:-1]):
        wants_value = index % 2 == 0
        if wants_value != (kind in ("word", "quoted")) or (not wants_value and word != ","):
            raise _wrong(text, place, "expected " + ("a value" if wants_value else "a comma"))
        values.append(word)
    if len(values) % 2 == 0:
        raise _wrong(text, rest[-1][0], "expected a value after the comma")
    return tuple(values[::2])


def _check_values(text: str, demand: Demand) -> Demand:
    if demand.attribute == IMAGE_LOCAL and demand.operator not in ("exists", "not exists"):
        raise _wrong(text, 0, "image.local stands alone")
    if demand.attribute in _NUMBERS or demand.operator in _ORDERINGS:
        for value in demand.values:
            if _number(demand.attribute, value) is None:
                what = "a size like 16GiB" if demand.attribute == "worker.memory" else "a number"
                raise _wrong(text, max(text.find(value), 0), f"{value[:40]!r} is not {what}")
    return demand


def _wrong(text: str, place: int, what: str) -> ValueError:
    return ValueError(f"{text[:80]!r}, character {place + 1}: {what}")


def _value(worker: WorkerView, attribute: str) -> str | float | None:
    match attribute:
        case "worker.name":
            return worker.name
        case "worker.runtime":
            return worker.runtime
        case "worker.cpus":
            return worker.capacity.cpus_milli / 1000
        case "worker.memory":
            return float(worker.capacity.memory_bytes)
        case "gpu.count":
            return float(worker.capacity.gpus)
        case "gpu.model":
            return worker.labels.get("gpu.model")
        case _:
            return worker.labels.get(attribute.removeprefix(LABEL))


def _number(attribute: str, text: str) -> float | None:
    try:
        return float(parse_size(text)) if attribute == "worker.memory" else float(text)
    except ValueError:
        return None


def _equal(attribute: str, value: str | float, wanted: str) -> bool:
    if isinstance(value, str):
        return value == wanted
    return value == _number(attribute, wanted)


def _ordered(attribute: str, value: str | float, operator: str, wanted: str) -> bool:
    have = value if isinstance(value, float) else _number(attribute, value)
    limit = _number(attribute, wanted)
    if have is None or limit is None:
        return False
    return {"<": have < limit, "<=": have <= limit, ">": have > limit, ">=": have >= limit}[operator]
