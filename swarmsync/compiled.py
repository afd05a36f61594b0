"""Hot modules, compiled: the same source, made into C by mypyc where a C compiler is at hand (decision 59).

`scripts/compile.py` makes a library of those of the engine and one of the worker's, in a directory of the virtual
environment. A package that has some says `prefer(__name__, __path__)` before its modules are imported: then they are
looked for there first. What was made from another source than is here now is not used: an edited module is interpreted
until it is compiled again. SWARMSYNC_COMPILED names another directory, or `no`.
"""

import hashlib
import os
import sys
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

#: By program those modules that profiles name. What holds for them is in decision 59.
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "engine": (
        "engine.dispatcher.inflight",
        "engine.harvester.ends",
        "engine.harvester.registry",
        "engine.harvester.settlements",
        "engine.scheduler.backlog",
        "engine.scheduler.books",
        "engine.scheduler.cluster_view",
        "engine.scheduler.decision",
        "engine.scheduler.fair_share",
        "engine.scheduler.keeping",
        "engine.scheduler.limits",
        "engine.scheduler.placement",
        "engine.scheduler.ranking",
        "engine.scheduler.reservation",
        "engine.scheduler.rooms",
        "engine.scheduler.run_times",
        "engine.shared_resource.frames",
        "engine.shared_resource.ring",
        "engine.shared_resource.ring_words",
    ),
    "worker": (
        "worker.agent",
        "worker.alarm",
        "worker.assignment",
        "worker.eager",
        "worker.patience",
        "worker.plans",
        "worker.reactor",
        "worker.receipts",
        "worker.steps",
        "worker.stopwatch",
    ),
}
#: Versions of Python with which the tests have been run compiled; with others everything is interpreted.
TESTED: Final = ((3, 11), (3, 12), (3, 13))
ROOT: Final = Path(__file__).parents[1]
#: What a library was made from: the first line sums up it and them, the others are the files by their paths from ROOT.
_SOURCES: Final = "sources.txt"


class _Process:
    """What this process makes of it."""

    leaves_out = False


def directory() -> Path | None:
    """Return where compiled modules are made and looked for by this Python; None: nowhere."""
    named = os.environ.get("SWARMSYNC_COMPILED")
    if named == "no" or sys.version_info[:2] not in TESTED:
        return None
    base = Path(named).absolute() if named else Path(sys.prefix, "lib", "swarmsync-compiled")
    return base / (sys.implementation.cache_tag or "python")


def library(program: str) -> str:
    """Return the name of the module in which all those of a program are."""
    return f"swarmsync_{program}__mypyc"


def sign(place: Path, sources: list[str]) -> None:
    """Note down that what is in `place` was made from these sources."""
    place.joinpath(_SOURCES).write_text("\n".join([_sum(place, sources), *sources]) + "\n")


def is_current(place: Path) -> bool:
    """Whether what is in `place` is whole, and was made from the sources as they are now."""
    try:
        was, *sources = place.joinpath(_SOURCES).read_text().splitlines()
        return bool(sources) and was == _sum(place, sources)
    except (OSError, ValueError):
        return False


def _sum(place: Path, sources: list[str]) -> str:
    seen = hashlib.sha256()
    for built in sorted(place.rglob(f"*{EXTENSION_SUFFIXES[0]}")):
        seen.update(f"{built.relative_to(place)} {built.stat().st_size}\n".encode())
    for source in sources:
        text = (ROOT / source).read_bytes()
        seen.update(f"{source} {len(text)}\n".encode() + text)
    return seen.hexdigest()


@cache
def _loaded(program: str) -> Path | None:
    """Load the library of a program, if there is one for what its modules are now; return where."""
    base, name = directory(), library(program)
    if base is None or not is_current(base / program):
        return None
    path = str(base / program / (name + EXTENSION_SUFFIXES[0]))
    spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path))
    if spec is None:
        return None
    try:
        sys.modules[name] = module_from_spec(spec)
    except ImportError:
        return None  # it was taken away meanwhile
    return base


def prefer(package: str, path: list[str]) -> None:
    """Let the package's compiled modules be found before the others; `path` is its `__path__`."""
    program, *below = package.split(".")
    base = None if _Process.leaves_out else _loaded(program)
    if base is not None:
        path.insert(0, str(base.joinpath(program, *below)))


def leave_out() -> None:
    """From now on this process imports no compiled modules; those that it starts do. For tests that replace parts."""
    _Process.leaves_out = True


def in_use() -> list[str]:
    """Return the programs whose compiled modules a process that starts now would have."""
    base = directory()
    return [] if base is None else [name for name in MODULES if is_current(base / name)]
