"""Golden files: compared when tests run, written anew by `make golden`, reviewed as differences."""

import os
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
WRITING = os.environ.get("SWARMSYNC_GOLDEN") == "write"


def settle(path: Path, now: str) -> str:
    """Return what the file says; with SWARMSYNC_GOLDEN=write, make it say `now` first."""
    if WRITING and (not path.exists() or path.read_text() != now):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(now)
    return path.read_text() if path.exists() else f"{path.name} is missing; make golden writes it"
