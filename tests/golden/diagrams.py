"""The parts of the documents that are made from the code's own tables, between a pair of markers each.

`python tests/golden/diagrams.py` prints them; `make golden` writes them into docs/architecture.md.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from engine.service_channels import CARRIES, CHANNELS
from swarmsync.model.lifecycle import FINAL, PLACED, TRANSITIONS, WAITING, Actor, JobState

#: What people call the actors.
NAMES: Final = {
    Actor.API: "API (people)",
    Actor.HIBERNATOR: "Hibernator",
    Actor.DISPATCHER: "Dispatcher",
    Actor.HARVESTER: "Harvester",
    Actor.RESTORE: "the start after a restore",
}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table whose columns line up in the source too."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def size(amount: int) -> str:
    return f"{amount >> 20} MiB"


def channels() -> str:
    """Every ring between two modules."""
    rows = [
        (
            f"`{channel.name}`",
            channel.writer.value.capitalize(),
            channel.reader.value.capitalize(),
            CARRIES[channel.name.partition(".")[0]],
            size(channel.capacity_bytes),
            channel.when_full,
        )
        for channel in CHANNELS
    ]
    return table(("ring", "from", "to", "words", "size", "when full"), rows)


def _states(states: Iterable[JobState]) -> str:
    """Name states in the order of the enumeration; a whole group by its own name."""
    found = set(states)
    groups = {"any waiting state": set(WAITING), "any placed state": set(PLACED)}
    parts = []
    for name, group in groups.items():
        if group <= found:
            parts.append(name)
            found -= group
    return ", ".join([*parts, *(f"`{state}`" for state in JobState if state in found)])


def transitions() -> str:
    """Who may change a job from what to what; targets that are reached from the same states share a row."""
    rows = []
    for actor in Actor:
        sources: dict[JobState, set[JobState]] = {}
        for source, target in TRANSITIONS[actor]:
            sources.setdefault(target, set()).add(source)
        by_sources: dict[frozenset[JobState], list[JobState]] = {}
        for target in JobState:
            if target in sources:
                by_sources.setdefault(frozenset(sources[target]), []).append(target)
        rows += [(NAMES[actor], _states(group), _states(targets)) for group, targets in by_sources.items()]
    return table(("who", "from", "to"), rows)


def picture() -> str:
    """The same as a picture, with the waiting, placed and final states drawn as groups."""
    groups = {"waiting": WAITING, "placed": PLACED, "final": FINAL}
    group_of = {state: name for name, states in groups.items() for state in states}
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> waiting: submitted"]
    for name, states in groups.items():
        lines += [f"    state {name} {{", *(f"        {state}" for state in states), "    }"]
    between: dict[tuple[str, str], set[Actor]] = {}
    for actor in Actor:
        for source, target in TRANSITIONS[actor]:
            if group_of[source] != group_of[target]:
                between.setdefault((group_of[source], group_of[target]), set()).add(actor)
    for (source_group, target_group), actors in sorted(between.items()):
        names = ", ".join(NAMES[actor] for actor in Actor if actor in actors)
        lines.append(f"    {source_group} --> {target_group}: {names}")
    return "\n".join([*lines, "```"])


PARTS: Final[Mapping[str, Callable[[], str]]] = {"channels": channels, "transitions": transitions, "picture": picture}


def renewed(document: str) -> str:
    """Return the document with each generated part as it is now. Raises KeyError for a marker nobody fills."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", part, document, flags=re.DOTALL)


def markers(document: str) -> list[str]:
    return re.findall(r"<!-- generated: (\w+) -->", document)


if __name__ == "__main__":
    for title, make in PARTS.items():
        print(f"{title}:\n{make()}\n")  # noqa: T201 it is a program
