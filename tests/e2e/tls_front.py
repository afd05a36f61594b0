"""TLS before servers that speak none: the wheels' PostgreSQL and Valkey are built without it.

For PostgreSQL it answers the request for encryption as a server does (protocol 3.0, SSLRequest); who asks for none is cut
off, as `hostssl` does.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


class _Front:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.loop = asyncio.new_event_loop()
        self.servers: list[asyncio.Server] = []

    async def open(self, target: Path, *, as_postgres: bool) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if as_postgres:
                    if await reader.readexactly(8) != SSL_REQUEST:
                        return
                    writer.write(b"S")
                    await writer.drain()
                    await writer.start_tls(self._context)
                back = await asyncio.open_unix_connection(str(target))
                await asyncio.gather(_pour(reader, back[1]), _pour(back[0], writer))
            except (OSError, asyncio.IncompleteReadError):
                return
            finally:
                writer.close()

        context = None if as_postgres else self._context
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(1 << 16):
            sink.write(piece)
            await sink.drain()
    except OSError:
        pass  # one side is gone; so is the other
    finally:
        sink.close()


@contextmanager
def tls_fronts(certificates: Path, postgres: Path, valkey: Path) -> Iterator[tuple[int, int]]:
    """Stand before two Unix sockets; return the ports of PostgreSQL and Valkey on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    front = _Front(context)
    thread = threading.Thread(target=front.loop.run_forever, daemon=True)
    thread.start()

    def open_one(target: Path, *, as_postgres: bool) -> int:
        return asyncio.run_coroutine_threadsafe(front.open(target, as_postgres=as_postgres), front.loop).result(10)

    async def end() -> None:
        for server in front.servers:
            server.close()
        open_ones = asyncio.all_tasks() - {asyncio.current_task()}
        for one in open_ones:
            one.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)

    try:
        yield open_one(postgres, as_postgres=True), open_one(valkey, as_postgres=False)
    finally:
        asyncio.run_coroutine_threadsafe(end(), front.loop).result(10)
        front.loop.call_soon_threadsafe(front.loop.stop)
        thread.join(10)
        front.loop.close()
