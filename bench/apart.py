"""Run a measurement in a process of its own: memory that was never used by another, and a fresh collector."""

import os
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Apart(RuntimeError):
    """The measurement failed in its process; the message is its traceback."""


def apart(work: Callable[..., T], *values: Any) -> T:
    """Fork, call `work`, return what it returned. Its values travel pickled from our own child.

    What it or its programs print goes to stderr: stdout is for the results.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            os.dup2(2, 1)
            sys.stdout = sys.stderr
            answer: tuple[bool, Any] = (True, work(*values))
        except BaseException:  # noqa: BLE001 the parent raises it
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as file:
            text = file.read()
    finally:
        os.waitpid(pid, 0)
    good, value = _answer(text)
    if not good:
        raise Apart(value)
    result: T = value
    return result


def _answer(text: bytes) -> tuple[bool, Any]:
    answer: tuple[bool, Any] = pickle.loads(text) if text else (False, "it was killed")
    return answer


def resident_bytes() -> int:
    """Return what this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
