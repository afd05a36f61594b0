"""Job logs as rows: a small CSV (also gzipped), and the Standard Workload Format of the Parallel Workloads Archive.

CSV, with a header: submit_s, runtime_s, cpus, mem_mb, gpus, user, priority, walltime_s; what else there is, is ignored.
A walltime of nothing, 0 or -1 says in both formats that the user asked for none.
"""

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO, cast

from msgspec import Struct

from swarmsync.errors import RequestError

NUMBER_MAX: Final = 1e12
SHOWN_MAX: Final = 200  # of a first line that names no column: it may be a megabyte of something else

#: What a line of the Standard Workload Format has to have, in its order; nine more may follow.
SWF_FIELDS: Final = (
    "job number",
    "submit time",
    "wait time",
    "run time",
    "processors",
    "cpu time",
    "memory",
    "requested processors",
    "requested time",
)


class LoggedJob(Struct, frozen=True):
    """`walltime_s` is what the user asked for, None where nothing was; `gpus` may be a share of one."""

    submit_s: float
    runtime_s: float
    cpus: float
    mem_mb: float = 0.0
    gpus: float = 0.0
    user: str = ""
    priority: int = 0
    walltime_s: float | None = None


class LoggedWorker(Struct, frozen=True):
    name: str
    cpus: float
    mem_mb: float
    gpus: int
    gpu_model: str = ""


class BadLog(RequestError):
    """A file that is no job log; the message says where and why."""


def read_jobs(path: Path) -> list[LoggedJob]:
    """Return the jobs in order of submission. Raises BadLog."""
    name = path.name.lower().removesuffix(".gz")
    jobs = list(_swf(path) if name.endswith(".swf") else _csv(path))
    if not jobs:
        raise BadLog(f"{path}: there is no job in it")
    return sorted(jobs, key=lambda job: job.submit_s)


def read_workers(path: Path) -> list[LoggedWorker]:
    """Return the workers of a CSV: name (the first column), cpus, mem_mb, gpus, gpu_model. Raises BadLog."""
    with _opened(path) as lines:
        rows = csv.DictReader(lines)
        _demand_columns(path, rows, ("cpus", "mem_mb", "gpus"))
        first = (rows.fieldnames or [""])[0]
        try:
            found = [
                LoggedWorker(
                    row[first],
                    _number(row, "cpus"),
                    _number(row, "mem_mb"),
                    _whole(row, "gpus"),
                    row.get("gpu_model") or "",
                )
                for row in rows
            ]
        except (ValueError, TypeError) as error:
            raise BadLog(f"{path}, line {rows.line_num}: {error}") from None
    if not found:
        raise BadLog(f"{path}: there is no worker in it")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a log. A byte that is not UTF-8 is written out, so that two users whose names have one stay two."""
    try:
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", errors="backslashreplace") as lines:
            yield cast("TextIO", lines)
    except (OSError, EOFError, csv.Error, zlib.error) as error:
        raise BadLog(f"{path}: {error}") from None


def _csv(path: Path) -> Iterator[LoggedJob]:
    with _opened(path) as lines:
        rows = csv.DictReader(lines)
        _demand_columns(path, rows, ("submit_s", "runtime_s", "cpus"))
        for row in rows:
            try:
                yield LoggedJob(
                    _number(row, "submit_s"),
                    _number(row, "runtime_s"),
                    _number(row, "cpus"),
                    _number(row, "mem_mb", 0.0),
                    _number(row, "gpus", 0.0),
                    row.get("user") or "",
                    int(row.get("priority") or 0),
                    _walltime(row),
                )
            except (ValueError, TypeError) as error:
                raise BadLog(f"{path}, line {rows.line_num}: {error}") from None


def _demand_columns(path: Path, rows: "csv.DictReader[str]", wanted: Iterable[str]) -> None:
    try:
        there = rows.fieldnames or []
    except csv.Error as error:
        raise BadLog(f"{path}: {error}") from None
    missing = [name for name in wanted if name not in there]
    if missing:
        has = ", ".join(there)[:SHOWN_MAX] or "none"
        shown = has if has.isprintable() else ascii(has)
        raise BadLog(f"{path}: the first line names no column {', '.join(missing)}; it has {shown}")


def _number(row: Mapping[str, str | None], column: str, default: float | None = None) -> float:
    """Return a finite number that is not negative. Raises ValueError with the column."""
    text = row.get(column)
    if not text and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError:
        raise ValueError(f"{column} is {(text or '')[:40]!r}, not a number") from None
    if not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{column} is {(text or '')[:40]}; it must be between 0 and {NUMBER_MAX:g}")
    return value


def _whole(row: Mapping[str, str | None], column: str) -> int:
    value = _number(row, column)
    if value % 1:
        raise ValueError(f"{column} is {value:g}; a worker has whole ones")
    return int(value)


def _walltime(row: Mapping[str, str | None]) -> float | None:
    text = (row.get("walltime_s") or "").strip()
    if text in ("", "-1", "-1.0"):
        return None
    return _number(row, "walltime_s") or None


def _swf(path: Path) -> Iterator[LoggedJob]:
    """Read fields 2 submit, 4 run, 5 and 8 processors, 9 requested time, 12 user; jobs that never ran are left out."""
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            fields = line.split()
            if not fields or fields[0].startswith(";"):
                continue
            try:
                job = _swf_job(fields)
            except ValueError as error:
                raise BadLog(f"{path}, line {number}: {error}") from None
            if job is not None:
                yield job


def _swf_job(fields: Sequence[str]) -> LoggedJob | None:
    """Return the job of a line, None if it never ran. Raises ValueError with the field."""
    missing = SWF_FIELDS[len(fields) :]
    if missing:
        raise ValueError(f"it has {len(fields)} of {len(SWF_FIELDS)} fields; {', '.join(missing)} missing")
    values = [_swf_number(name, text) for name, text in zip(SWF_FIELDS, fields, strict=False)]
    submit, run, used, wanted, walltime = values[1], values[3], values[4], values[7], values[8]
    cpus = wanted if wanted > 0 else used
    if run <= 0 or cpus <= 0:
        return None
    if submit < 0:  # the format writes -1 for what is not known; it has no time before 0
        raise ValueError(f"submit time is {fields[1]}: nobody knows when this job came; take the line out")
    limit = walltime if walltime > 0 else None
    user = fields[11] if len(fields) > 11 else ""
    return LoggedJob(submit, run if limit is None else min(run, limit), cpus, user=user, walltime_s=limit)


def _swf_number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text[:40]!r}, not a number") from None
    if not abs(value) <= NUMBER_MAX:
        raise ValueError(f"{name} is {text[:40]}; {NUMBER_MAX:g} is the most")
    return value
