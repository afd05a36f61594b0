"""A measurement as a value: what was measured, under which circumstances, and how two of them compare."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from swarmsync import compiled
from swarmsync.errors import RequestError

PROJECT: Final = Path(__file__).parent.parent
#: Tells people what goes on; the figures do not depend on it.
Say = Callable[[str], None]

#: Settings on which no figure depends: where a run is written down as well.
HARMLESS: Final = frozenset({"ledger"})
_PACKAGES: Final = ("uvloop", "msgspec", "asyncpg", "nats-py", "falcon", "gunicorn", "aiodocker", "xxhash")


class Result(Struct, frozen=True):
    """One scenario, measured once. `settings` is how it was called."""

    scenario: str
    quick: bool
    at: str
    took_s: float
    settings: dict[str, Any]
    circumstances: dict[str, Any]
    figures: dict[str, Any]


class BadResult(RequestError):
    """A file that holds no results; the message says what is wrong."""


class Difference(Struct, frozen=True):
    """One figure in two results; `ratio` is the second to the first."""

    figure: str
    before: float
    after: float

    @property
    def ratio(self) -> float | None:
        return round(self.after / self.before, 3) if self.before else None


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return p50, p90, p99, p99.9, the extremes and the count; nothing for no values."""
    if not values:
        return {"n": 0}
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), digits),
        "p90": round(at_share(ordered, 0.9), digits),
        "p99": round(at_share(ordered, 0.99), digits),
        "p99.9": round(at_share(ordered, 0.999), digits),
        "min": round(ordered[0], digits),
        "max": round(ordered[-1], digits),
        "n": len(ordered),
    }


def at_share(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def circumstances() -> dict[str, Any]:
    """What a figure depends on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "version": importlib.metadata.version("swarmsync"),
        "commit": _git("rev-parse", "--short", "HEAD") or "unknown",
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "compiled": compiled.in_use(),
        "packages": versions,
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "loop_turns_per_s": _loop_turns(),
        "busy_cores_before": round(os.getloadavg()[0], 2),
    }


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(PROJECT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _loop_turns() -> int:
    """How fast an empty loop turns: the machine's speed at this moment, since it drifts."""
    began = time.perf_counter()
    turns = 0
    while time.perf_counter() - began < 0.2:
        turns += 1
    return round(turns / 0.2)


def write(results: Sequence[Result], path: Path) -> None:
    """Write results as indented JSON, one object or a list of them."""
    plain = msgspec.to_builtins(results[0] if len(results) == 1 else list(results))
    path.write_text(json.dumps(plain, indent=2) + "\n")


def read(path: Path) -> dict[str, Result]:
    """Read results by scenario: one, a list of them, or one a line. Raises BadResult, also where a choice is left."""
    try:
        text = path.read_text()
    except OSError as problem:
        raise BadResult(f"{path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise BadResult(f"{path} holds no results of bench --json: {problem}") from None
    try:
        try:
            plain = json.loads(text)
        except json.JSONDecodeError:
            plain = [json.loads(line) for line in text.splitlines() if line.strip()]
        results = msgspec.convert(plain if isinstance(plain, list) else [plain], list[Result])
    except (json.JSONDecodeError, msgspec.ValidationError) as problem:
        raise BadResult(f"{path} holds no results of bench --json: {problem}") from None
    found = {result.scenario: result for result in results}
    for name, result in found.items():
        several = [other for other in results if other.scenario == name and other != result]
        if several:
            raise BadResult(f"{path} holds {len(several) + 1} different results of {name}; keep one")
    return found


def numbers(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Walk all numbers of nested figures as `a / b / c`; lists are spreads and settings, and are left out."""
    for key, value in figures.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from numbers(value, f"{name} / ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def compare(before: Mapping[str, Result], after: Mapping[str, Result]) -> list[Difference]:
    """Return every figure that both have, in the order of the first."""
    differences = []
    for scenario, one in before.items():
        if scenario not in after:
            continue
        other = dict(numbers(after[scenario].figures))
        differences += [
            Difference(f"{scenario}: {name}", value, other[name])
            for name, value in numbers(one.figures)
            if name in other
        ]
    return differences


def unlike(before: Result, after: Result) -> list[str]:
    """Say of two results of a scenario why their ratio is not one of the program: machine, or how it was called."""
    said = []
    one, other = {"quick": before.quick, **before.settings}, {"quick": after.quick, **after.settings}
    names = [name for name in sorted((one.keys() | other.keys()) - HARMLESS) if _differ(one, other, name)]
    if names:
        pairs = ", ".join(f"{name} {one.get(name)} against {other.get(name)}" for name in names)
        said.append(f"not measured alike: {pairs}")
    speed = after.circumstances.get("loop_turns_per_s", 0) / (before.circumstances.get("loop_turns_per_s") or 1)
    if before.circumstances.get("processor") != after.circumstances.get("processor"):
        said.append("measured on different machines")
    elif not 0.9 <= speed <= 1.1:
        said.append(f"the machine itself was {speed:.2f} times as fast the second time")
    return said


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """An option that one result does not know, being older, was not given there."""
    if name in one and name in other:
        return bool(one[name] != other[name])
    return bool(one.get(name) or other.get(name))
