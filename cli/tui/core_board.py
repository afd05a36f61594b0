"""What the figures of the modules mean: who is late, which ring fills up, who holds the others up. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from cli import cells
from cli.documents import CoreFigures
from cli.output import aligned
from cli.tui.screens import Document

#: A module that has nothing to do beats each 300 ms; one that has missed two of these is marked.
LATE_MS: Final = 750
#: From here on a ring counts as filling up, and what waits in it as old.
FILL: Final = 0.5
OLD_MS: Final = 1_000


class Trouble(Struct, frozen=True, order=True):
    """How badly a module holds the others up; the largest is the bottleneck."""

    kind: int = 0  # 3 does not run, 2 without a pulse, 1 behind its rings, 0 none
    amount: float = 0.0
    words: str = ""


def fullest(module: Document) -> tuple[str, Document] | None:
    """Return name and figures of the ring before this module that is worst off: by fill, then by age."""
    rings: dict[str, Document] = module.get("rings") or {}
    found = sorted(rings.items(), key=lambda pair: (pair[1].get("fill", 0), pair[1].get("oldest_ms", 0)))
    return found[-1] if found else None


def oldest_ms(module: Document) -> int:
    return max((ring.get("oldest_ms", 0) for ring in (module.get("rings") or {}).values()), default=0)


def per_second(module: Document) -> float:
    return float(sum(ring.get("taken_per_s", 0.0) for ring in (module.get("rings") or {}).values()))


def is_late(module: Document) -> bool:
    return module.get("state") == "running" and (module.get("pulse_age_ms") or 0) >= LATE_MS


def trouble(module: Document) -> Trouble:
    state = module.get("state")
    ring = fullest(module)
    name, figures = ring or ("", {})
    fill, age_ms = figures.get("fill", 0.0), oldest_ms(module)
    behind = f"ring {name} {round(fill * 100)} % full" + (f", {age_ms / 1000:.1f} s behind" if age_ms else "")
    if state not in ("running", "unknown"):
        return Trouble(3, age_ms, f"it is {state}, {behind}" if ring else f"it is {state}")
    if is_late(module):
        silence = f"no pulse for {module['pulse_age_ms'] / 1000:.1f} s"
        return Trouble(2, module["pulse_age_ms"], f"{silence}, {behind}" if ring else silence)
    if ring and (fill >= FILL or age_ms >= OLD_MS):
        return Trouble(1, max(fill, age_ms / 10_000), behind)
    return Trouble()


def bottleneck(modules: Sequence[Document]) -> tuple[str, str]:
    """Return the name of the module that holds the others up, or empty, and one sentence for people."""
    engine = [module for module in modules if module.get("kind", "module") == "module"]
    if not engine or all(module.get("state") == "unknown" for module in engine):
        return "", "Nothing is known of the engine: no figures for 10 s."
    worst = max(engine, key=trouble)
    found = trouble(worst)
    if found.kind:
        return worst["name"], f"{worst['name'].capitalize()} is the bottleneck: {found.words}."
    down = [module["name"] for module in modules if module.get("state") not in ("running", "unknown")]
    if down:
        return down[0], f"The engine keeps up, but {', '.join(down)} does not run."
    full = max((ring for ring in map(fullest, engine) if ring), key=lambda pair: pair[1].get("fill", 0), default=None)
    words = f"the fullest ring is {full[0]}, {round(full[1].get('fill', 0) * 100)} %" if full else "no ring is known"
    return "", f"No bottleneck: every module keeps up; {words}."


def condition(module: Document) -> str:
    """Return the state, or that a running module is late."""
    if is_late(module):
        return "late"
    return str(module.get("state") or "unknown")


def figures(modules: Sequence[Document]) -> CoreFigures:
    """Return the modules as one document, with who holds them up."""
    name, sentence = bottleneck(modules)
    return {
        "bottleneck": name or None,
        "sentence": sentence,
        "modules": [{**module, "condition": condition(module)} for module in modules],
    }


HEADER: Final = ("MODULE", "STATE", "PULSE", "LAG MS", "RING", "MSG/S", "OLDEST", "RST", "MEMORY", "CPU")


def row(module: Document) -> list[str]:
    """Return the figures of one module as cells."""
    lag = module.get("pulse_lag_ms")
    lags = "/".join(f"{lag[beat]:.0f}" for beat in ("fast", "medium", "slow")) if isinstance(lag, dict) else "-"
    ring = fullest(module)
    age_ms = module.get("pulse_age_ms")
    return [
        cells.plain(module.get("name")),
        condition(module),
        "-" if age_ms is None else f"{age_ms / 1000:.1f}s",
        lags,
        f"{round(ring[1].get('fill', 0) * 100)}%" if ring else "-",
        f"{per_second(module):.0f}" if ring else "-",
        cells.span(oldest_ms(module) / 1000) if ring else "-",
        cells.plain(module.get("restarts")),
        cells.size((module["memory_bytes"] >> 20 << 20) if module.get("memory_bytes") else None),
        "-" if module.get("cpu_percent") is None else f"{module['cpu_percent']:.0f}%",
    ]


def describe(document: Document) -> str:
    """Return the figures for people."""
    rows: Iterable[list[str]] = map(row, document["modules"])
    return "".join(f"{line}\n" for line in [document["sentence"], "", *aligned([list(HEADER), *rows])])
