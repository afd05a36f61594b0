"""Job logs as rows: a small CSV (also gzipped), and the Standard Workload Format of the Parallel Workloads Archive.

CSV, with a header: submit_s, runtime_s, cpus, mem_mb, gpus, user, priority, walltime_s; what else there is, is ignored.
"""

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO, cast

from msgspec import Struct

from swarmsync.errors import RequestError

NUMBER_MAX: Final = 1e12


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
    name = path.name.removesuffix(".gz")
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
                    int(_number(row, "gpus")),
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
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            yield cast("TextIO", lines)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
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
                    _number(row, "walltime_s") if row.get("walltime_s") else None,
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
        raise BadLog(
            f"{path}: the first line names no column {', '.join(missing)}; it has {', '.join(there) or 'none'}"
        )


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


def _swf(path: Path) -> Iterator[LoggedJob]:
    """Read fields 2 submit, 4 run, 5 and 8 processors, 9 requested time, 12 user; jobs that never ran are left out."""
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            fields = line.split()
            if not fields or fields[0].startswith(";"):
                continue
            try:
                values = [float(field) for field in fields]
                submit, run, used, wanted, walltime = values[1], values[3], values[4], values[7], values[8]
                user = fields[11] if len(fields) > 11 else ""
            except (ValueError, IndexError) as error:
                raise BadLog(f"{path}, line {number}: {error}") from None
            if not all(abs(value) <= NUMBER_MAX for value in values[:9]):
                raise BadLog(f"{path}, line {number}: there is a number beyond {NUMBER_MAX:g}")
            cpus = wanted if wanted > 0 else used
            if run <= 0 or cpus <= 0:
                continue
            limit = walltime if walltime > 0 else None
            yield LoggedJob(submit, run if limit is None else min(run, limit), cpus, user=user, walltime_s=limit)
