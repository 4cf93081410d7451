"""Passes the bytes of a connection on, unread, in both directions, until both have ended."""

import asyncio
import socket

_READ_BYTES = 1 << 16


async def pass_through(connection: socket.socket, upstream: tuple[str, int]) -> None:
    """Connect `connection` to `upstream`; a broker that is not there ends it."""
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        up_reader, up_writer = await asyncio.open_connection(*upstream)
    except OSError:
        writer.close()
        return
    try:
        await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
    finally:
        writer.close()
        up_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # One side broke the connection: the other one sees its end.
        writer.close()
