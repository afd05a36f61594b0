"""What is kept of how an attempt ended: the document in `assignments.result` and `jobs.result`. Pure.

Most jobs of a flood write nothing and measure nothing; what is as for such a job is not stored, and `read_result`
brings it back. A document of 500 bytes became one of 12, twice a job.
"""

from hashlib import sha256
from typing import Any, Final

import msgspec

#: The hash of a stream into which nothing was written.
EMPTY_SHA256: Final = sha256().hexdigest()
_EMPTY: Final = {"size": 0, "kept": 0, "sha256": EMPTY_SHA256}
#: What a worker measured where nothing took time: the fields of the message `Spent`.
NOTHING_SPENT: Final = dict.fromkeys(("pull_ms", "create_ms", "start_ms", "stop_ms", "collect_ms"), 0)
_NOTHING: Final = {
    "stdout": _EMPTY,
    "stderr": _EMPTY,
    "cpu_ms": None,
    "memory_peak_bytes": None,
    "ran_ms": None,
    "spent": NOTHING_SPENT,
}


def read_result(text: str | None) -> dict[str, Any]:
    """Return the whole document of a stored one; an empty one where an attempt left none."""
    if text is None:
        return {}
    stored: dict[str, Any] = msgspec.json.decode(text)
    return _NOTHING | stored
