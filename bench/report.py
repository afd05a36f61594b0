"""Tables of results for documents: `bench report DIRECTORY DOCUMENT` fills the parts that are marked as generated."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench import results
from bench.results import BadResult, Result
from swarmsync.errors import SwarmError

_PART: Final = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_Rows = list[list[str]]


def fill(document: str, found: Mapping[str, Result], pictures: Mapping[str, str]) -> str:
    """Return the document with each part `bench: NAME` made anew from what was found; others stay as they are.

    `pictures` has the plots by scenario, as the document is to name them.
    """

    def part(match: re.Match[str]) -> str:
        name = match[2]
        if name == "machine" and found:
            return match[1] + machine(found) + match[3]
        if name not in found:
            return match[0]
        return match[1] + section(found[name], pictures.get(name)) + match[3]

    return _PART.sub(part, document)


def section(result: Result, picture: str | None = None) -> str:
    """Return the table of one result, how it was made, and its picture. Raises BadResult."""
    try:
        rows = _TABLES.get(result.scenario, _plain)(result.figures)
    except (KeyError, IndexError) as problem:  # what another version measured
        raise BadResult(f"the result of {result.scenario}, {result.at}, makes no table: {problem!r}") from None
    around = result.circumstances
    speed = around.get("loop_turns_per_s", 0) / 1e6
    changed = ", with changes" if around.get("changed") else ""
    made = (
        f"`bench {result.scenario}{' --quick' if result.quick else ''}`, {result.at[:16].replace('T', ' ')} UTC, "
        f"commit {around.get('commit', '?')}{changed}, load before {around.get('busy_cores_before', '?')}, "
        f"{speed:.0f} M loop turns/s.\n"
    )
    return f"{table(rows)}\n{made}" + (f"\n![{result.scenario}]({picture})\n" if picture else "")


def machine(found: Mapping[str, Result]) -> str:
    around = next(iter(found.values())).circumstances
    packages = ", ".join(f"{name} {version}" for name, version in around.get("packages", {}).items())
    return (
        f"{around.get('cores')} cores of {around.get('processor')}, {around.get('memory_gib')} GiB, "
        f"{around.get('system')}, Python {around.get('python')}; {packages}.\n"
    )


def table(rows: _Rows) -> str:
    """Return a table in Markdown, the first row being its head; numbers stand right."""
    if not rows:
        return ""
    width = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = [all(_is_number(row[column]) for row in rows[1:]) for column in range(len(rows[0]))]
    rule = ["-" * (size - 1) + (":" if to_right else "-") for size, to_right in zip(width, right, strict=True)]
    lines = []
    for row in [rows[0], rule, *rows[1:]]:
        cells = [
            text.rjust(size) if to_right else text.ljust(size)
            for text, size, to_right in zip(row, width, right, strict=True)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _is_number(text: str) -> bool:
    return text in ("", "-") or bool(re.fullmatch(r"[-\d.,]+", text))


def number(value: Any) -> str:
    """Write a figure for people: thousands parted, three digits where it is small."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _plain(figures: Mapping[str, Any]) -> _Rows:
    return [["figure", "value"], *([name, number(value)] for name, value in results.numbers(figures))]


def _rings(figures: Mapping[str, Any]) -> _Rows:
    batches = [key for key in figures if key.startswith("batch ")]
    head = ["transport", *(f"{batch}, records/s" for batch in batches), *(f"ring to it, {b}" for b in batches)]
    rows = [[*head, "one-way p50 us", "p99 us"]]
    for name in figures[batches[0]]["records_per_s"]:
        rates = [number(figures[batch]["records_per_s"][name]) for batch in batches]
        ratios = [number(figures[batch]["ring_to"].get(name)) for batch in batches]
        took = figures["one_way_us"][name]
        rows.append([name, *rates, *ratios, number(took["p50"]), number(took["p99"])])
    return rows


def _peers(figures: Mapping[str, Any]) -> _Rows:
    rows = [["system", "what it is", "jobs/s", "ours to it", "alone p50 ms", "p99 ms"]]
    for name, seen in figures["systems"].items():
        if "failed" in seen:
            rows.append([name, f"{seen['what']}; did not run: {seen['failed']}", "-", "-", "-", "-"])
            continue
        alone = seen["alone_ms"]
        ratio = number(seen.get("ours_to_it"))
        rows.append([name, seen["what"], number(seen["jobs_per_s"]), ratio, number(alone["p50"]), number(alone["p99"])])
    return rows


def _throughput(figures: Mapping[str, Any]) -> _Rows:
    rows = [["figure", "value"]]
    rows += [[key.replace("_", " "), number(figures[key])] for key in ("jobs", "jobs_per_s", "submit_per_s")]
    first, last = figures["tenths_per_s"][0], figures["tenths_per_s"][-1]
    rows.append(["last tenth to the first", number(last / first)])
    rows.append(["CPU us a job, all processes", number(figures["cpu_us_per_job"])])
    used = figures["cpu_us_per_job_by_process"].items()
    return rows + [[f"- of that {name}", number(value)] for name, value in used if value >= 0.1]


def _fairness(figures: Mapping[str, Any]) -> _Rows:
    policies = figures["policies"]
    rows = [["tenant's mean slowdown", *policies]]
    tenants = next(iter(policies.values()))["users"]
    rows += [[tenant, *(number(entry["users"].get(tenant)) for entry in policies.values())] for tenant in tenants]
    for label, key in (("worst tenant", "worst_user_bsld"), ("Jain's index", "jain_users"), ("all jobs", "bsld_mean")):
        rows.append([f"**{label}**", *(number(entry[key]) for entry in policies.values())])
    return rows


def _replay(figures: Mapping[str, Any]) -> _Rows:
    columns = ("bsld_mean", "bsld_p95", "bsld_max", "wait_mean_s", "utilisation", "queue_max", "jain_users")
    rows = [["policy", *(column.replace("bsld", "slowdown").replace("_", " ") for column in columns)]]
    return rows + [[name, *(number(entry.get(c)) for c in columns)] for name, entry in figures["policies"].items()]


def _pack(figures: Mapping[str, Any]) -> _Rows:
    rows = [["% of the GPUs allocated", "mean of seeds", "least", "most"]]
    for label, key, seeds in (
        ("ours", "allocation_ratio_mean", "per_seed"),
        ("best fit", "best_fit_mean", "best_fit_per_seed"),
    ):
        rows.append([label, *(f"{value:.2f}" for value in (figures[key], min(figures[seeds]), max(figures[seeds])))])
    return rows


def _recovery(figures: Mapping[str, Any]) -> _Rows:
    rows = [["fault", "n", "p50 s", "p99 s", "slowest s", "goal s", ""]]
    for name, row in figures["recovery"].items():
        times = [f"{row[word]:.2f}" for word in ("p50", "p99", "max")]
        rows.append([name, number(row["n"]), *times, number(row["goal_s"]), "met" if row["met"] else "missed"])
    return rows


def _failover(figures: Mapping[str, Any]) -> _Rows:
    rows = [["the leader is", "until", "n", "p50 s", "p90 s", "p99 s", "slowest s"]]
    for kind, row in figures["take_overs"].items():
        for key, what in (("to_leader_s", "another one leads"), ("to_job_s", "a new job begins")):
            times = [f"{row[key][word]:.2f}" for word in ("p50", "p90", "p99", "max")]
            rows.append([{"kill": "killed", "stop": "stopped"}[kind], what, number(row[key]["n"]), *times])
    return rows


def _chaos(figures: Mapping[str, Any]) -> _Rows:
    rows = [["fault", "n", "new job after p50 s", "p99 s", "slowest s"]]
    for name, row in figures["recovery_s"].items():
        times = [f"{row[word]:.2f}" if word in row else "-" for word in ("p50", "p99", "max")]
        rows.append([name, number(figures["faults_by_kind"][name]), *times])
    return rows


def _cells(*columns: str) -> Callable[[Mapping[str, Any]], _Rows]:
    """Return a table maker: a row per nested result, a column per figure that it has (`a/b` for a nested one)."""

    def rows(figures: Mapping[str, Any]) -> _Rows:
        made = [["", *(column.replace("_", " ").replace("/", " ") for column in columns)]]

        def walk(found: Mapping[str, Any], prefix: str) -> None:
            for name, value in found.items():
                if not isinstance(value, Mapping):
                    continue
                flat = dict(results.numbers(value))
                row = [number(flat.get(column.replace("/", " / "))) for column in columns]
                if all(text == "-" for text in row):
                    walk(value, f"{prefix}{name}, ")
                else:
                    made.append([f"{prefix}{name}", *row])

        walk(figures, "")
        return [
            [
                text.removeprefix("cells, ").removeprefix("routes, ").removeprefix("commands, ").removeprefix("lists, ")
                for text in row
            ]
            for row in made
        ]

    return rows


_TABLES: Final[dict[str, Callable[[Mapping[str, Any]], _Rows]]] = {
    "rings": _rings,
    "recovery": _recovery,
    "failover": _failover,
    "chaos": _chaos,
    "peers": _peers,
    "throughput": _throughput,
    "placement": _cells("fill_per_s", "cpus_placed", "churn_per_s", "bytes_per_worker", "bytes_per_placed_job"),
    "backlog": _cells("decisions_per_s", "taken_in_per_s", "bytes_per_waiting_job", "rows", "kill_to_ready_s"),
    "api": _cells("requests_per_s", "jobs_per_s", "ms/p50", "ms/p99"),
    "latency": _cells("to_start/p50", "to_start/p90", "to_start/p99", "to_start/p99.9", "to_verdict/p50", "p50", "p99"),
    "containers": _cells("raw_per_s", "swarmsync_per_s", "ratio", "swarm_per_s", "to_swarm", "our_cpu_ms"),
    "schedules": _cells("p50", "p90", "p99", "max"),
    "logs": _cells("mb", "mb_per_s", "our_cpu_ms_per_mb"),
    "lists": _cells("admin/p50", "admin/max", "user/p50", "user/max"),
    "fairness": _fairness,
    "replay": _replay,
    "pack": _pack,
    "cli": _cells("p50", "p90", "max"),
}


def write(directory: Path, document: Path) -> list[str]:
    """Fill the document from all results in a directory, copy their plots beside it; return what was used.

    Raises BadResult, and SwarmError where the document cannot be written.
    """
    found = _all_of(directory)
    try:
        text = document.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise BadResult(f"{document} is no document: {problem}") from None
    asked = {match[2] for match in _PART.finditer(text)}
    found = {name: result for name, result in found.items() if name in asked}
    plots = {name: directory / f"{name}.svg" for name in found if (directory / f"{name}.svg").exists()}
    filled = fill(text, found, {name: f"{document.stem}/{plot.name}" for name, plot in plots.items()})
    try:
        for plot in plots.values():
            pictures = document.parent / document.stem
            pictures.mkdir(exist_ok=True)
            shutil.copy(plot, pictures / plot.name)
        document.write_text(filled)
    except OSError as problem:
        raise SwarmError(f"{document} cannot be written: {problem}") from None
    return list(found)


def _all_of(directory: Path) -> dict[str, Result]:
    found: dict[str, Result] = {}
    places: dict[str, str] = {}
    for path in sorted(directory.glob("*.json")):
        for name, result in results.read(path).items():
            if found.get(name, result) != result:
                raise BadResult(f"{directory} holds two results of {name}: {places[name]} and {path.name}; keep one")
            found[name], places[name] = result, path.name
    if not found:
        raise BadResult(f"{directory} holds no results of bench --out")
    return found
