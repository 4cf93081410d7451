"""Does a broker answer? An open port is not enough: a broker that starts may take connections and say nothing."""

import asyncio

_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_ANSWER_S = 2.0


async def answers(upstream: tuple[str, int]) -> bool:
    """Whether somebody at `upstream` answers the protocol header of AMQP 0-9-1 soon."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(*upstream)
            try:
                writer.write(_PROTOCOL_HEADER)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
