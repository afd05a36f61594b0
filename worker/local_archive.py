"""A tar of a file or directory of this machine, piece by piece."""

import asyncio
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Final

PIECE_BYTES: Final = 1 << 20


async def archive_of(path: Path) -> AsyncIterator[bytes]:
    """Yield the tar; nothing when there is no such path. Its names begin with the last part of `path`."""
    with tempfile.TemporaryFile(prefix="swarmsync-archive-") as spool:
        if not await asyncio.to_thread(_write, path, spool):
            return
        spool.seek(0)
        while data := spool.read(PIECE_BYTES):
            yield data


def _write(path: Path, spool: IO[bytes]) -> bool:
    if not os.path.lexists(path):
        return False
    with tarfile.open(fileobj=spool, mode="w|") as tar:
        tar.add(path, arcname=path.name)
    return True
