"""Carries connections between a port of loopback and a socket in the file system, which processes
of other network namespaces reach: `python -m tests.broker.relay FROM TO`.

FROM and TO are `tcp:PORT` or `unix:PATH`. It prints a line when it listens, and ends when killed.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _connect(place: str) -> Streams:
    kind, _, where = place.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where)
    return await asyncio.open_connection("127.0.0.1", int(where))


async def relay(source: str, target: str) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await _connect(target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_carry(reader, back), _carry(there, writer))

    kind, _, where = source.partition(":")
    if kind == "unix":
        server = await asyncio.start_unix_server(accept, where)
    else:
        server = await asyncio.start_server(accept, "127.0.0.1", int(where))
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(*sys.argv[1:3]))
