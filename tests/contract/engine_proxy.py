"""A Docker engine on a bad line."""

import asyncio
from pathlib import Path


class EngineProxy:
    """A socket in front of the engine's, on which connections can be cut and answers be lost."""

    def __init__(self, engine: str, path: Path) -> None:
        self.address = f"unix://{path}"
        self._engine = engine
        self._path = path
        self._writers: set[asyncio.StreamWriter] = set()
        self._lose: bytes | None = None
        self.lost = 0
        self.refusing = False

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def close(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def lose_answer_to(self, part: bytes) -> None:
        """Hand the next request line with `part` to the engine, and cut the connection when its answer comes."""
        self._lose = part

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        engine_reader, engine_writer = await asyncio.open_unix_connection(self._engine)
        self._writers |= {writer, engine_writer}
        losing = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, engine_writer, losing, to_engine=True))
                group.create_task(self._copy(engine_reader, writer, losing, to_engine=False))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, engine_writer):
                self._writers.discard(each)
                each.transport.abort()

    async def _copy(self, reader, writer, losing, *, to_engine: bool) -> None:
        while data := await reader.read(65536):
            if to_engine and self._lose is not None and self._lose in data.split(b"\r\n", 1)[0]:
                self._lose = None
                losing.set()
            if not to_engine and losing.is_set():
                self.lost += 1
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
