"""Outputs of a container that has ended: collected, limited, hashed, sent, and checked before its end is reported.

Everything may be repeated: a new agent collects again from the container that is still there, and sends what PostgreSQL
does not have yet. A copy that arrives otherwise than it left is sent again once; then the attempt counts as lost.
"""

import asyncio
import contextlib
import posixpath
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from tarfile import TarError
from typing import IO, Any, Final

from swarmsync.model.files import FIRST_OUTPUT_STREAM, Output, fixed_part
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.protocol.messages import CheckOutput, OutputSum
from worker.container_runtime import ContainerRuntime, RuntimeProblem
from worker.output import OutputSender
from worker.output_tars import COPY_BYTES, Kept, TarKeeper, TooLarge

SENDS_MAX: Final = 2
#: A stream of Docker's that says nothing for so long is given up.
SILENCE_S: Final = 120.0


class OutputProblem(Exception):
    """The outputs cannot be had as the spec wants them; `reason` ends an attempt that was fine otherwise."""

    def __init__(self, reason: EndReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Collector:
    def __init__(self, ref: JobRef, runtime: ContainerRuntime, sender: OutputSender) -> None:
        self._ref = ref
        self._runtime = runtime
        self._sender = sender

    async def collect(self, container_id: str, outputs: Sequence[Output]) -> tuple[OutputSum, ...]:
        """Return what PostgreSQL has now. Raises OutputProblem, and RuntimeProblem when the container cannot be read.

        All are read before the first is sent: over a limit, none is stored.
        """
        spools: list[tuple[OutputSum, IO[bytes]]] = []
        try:
            for output in outputs:
                spool: IO[bytes] = tempfile.TemporaryFile(prefix="swarmsync-output-")  # noqa: SIM115 closed below, with the others
                spools.append((OutputSum(output.name), spool))
                spools[-1] = (await self._spool(container_id, output, spool), spool)
            for number, (total, spool) in enumerate(spools, FIRST_OUTPUT_STREAM):
                await self._deliver(number, total, spool)
            return tuple([total for total, _ in spools])
        finally:
            for _, spool in spools:
                spool.close()

    async def _spool(self, container_id: str, output: Output, spool: IO[bytes]) -> OutputSum:
        keeper = TarKeeper(output.path, int(output.max), spool)
        try:
            await self._add(keeper, container_id, fixed_part(output.path))
            for path in list(keeper.kept.elsewhere):
                await self._add(keeper, container_id, path)
        except Exception:
            with contextlib.suppress(OSError):
                keeper.close()  # while there is something that it can write to
            raise
        kept: Kept = keeper.close()
        size = spool.tell()
        digest = await asyncio.to_thread(_digest, spool)
        return OutputSum(output.name, size, digest, kept.files, kept.bytes)

    async def _add(self, keeper: TarKeeper, container_id: str, path: str) -> None:
        """Filter the archive of one path; nothing is there: nothing is added."""
        archive = self._runtime.archive(container_id, path)
        source = _ThreadReader(archive)
        first = await anext(archive, b"")
        if not first:
            return
        source.push(first)
        try:
            await asyncio.to_thread(keeper.add, source, posixpath.dirname(path), source.check)
        except TooLarge as problem:
            raise OutputProblem(EndReason.OUTPUT_TOO_LARGE, str(problem)) from None
        except TarError as problem:
            raise RuntimeProblem(
                EndReason.DOCKER_ERROR, f"the archive of {path} cannot be read: {problem}", retryable=True
            ) from None
        finally:
            source.cancelled.set()
            await archive.aclose()  # type: ignore[attr-defined]

    async def _deliver(self, number: int, total: OutputSum, spool: IO[bytes]) -> None:
        """Send what PostgreSQL lacks and have the whole checked; once more from the start if it is not the same."""
        said = ""
        for _ in range(SENDS_MAX):
            stream = await self._sender.open_one(self._ref, number)
            spool.seek(0)
            while data := spool.read(COPY_BYTES):
                await self._sender.send(stream, data, 0, len(data))
            await self._sender.flush([stream])
            answer = await self._sender.check(CheckOutput(self._sender.session, self._ref, number, total))
            self._sender.close_one(self._ref, number)
            if answer.same:
                return
            said = answer.message
        raise OutputProblem(EndReason.CHECKSUM_MISMATCH, f"the output {total.name} did not arrive as it left: {said}")


class _ThreadReader:
    """An asynchronous stream of bytes as a file that a thread reads."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self.cancelled = threading.Event()

    def push(self, data: bytes) -> None:
        self._rest = data

    def check(self) -> None:
        if self.cancelled.is_set():
            raise TarError("nobody wants it any more")

    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._rest) < size:
            self.check()
            piece = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result(SILENCE_S)
            if not piece:
                break
            self._rest += piece
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def _next(self) -> bytes:
        return await anext(self._pieces, b"")


def _digest(spool: IO[bytes]) -> str:
    spool.seek(0)
    digest: Any = sha256()
    while data := spool.read(COPY_BYTES):
        digest.update(data)
    return str(digest.hexdigest())
