"""A link between a client and the broker that goes bad when told to: an asyncio TCP proxy in a thread of its own.

It counts what it did, so that a test waits for a fault to have bitten and for traffic to flow again, never for time.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal, Self, assert_never

Fault = Literal["down", "black hole", "reset", "latency", "rate", "cut"]
FAULTS: Final[tuple[Fault, ...]] = ("down", "black hole", "reset", "latency", "rate", "cut")
_CHUNK_BYTES: Final = 4096
_LATENCY_S: Final = 0.2
#: A slow link: 50 kB/s, in pieces.
_PIECE_BYTES: Final = 1_000
_PIECE_S: Final = 0.02
#: Closing with this option says RST instead of FIN.
_LINGER_NOT: Final = struct.pack("ii", 1, 0)


class Proxy:
    """One link; ``port`` is where its client finds the broker."""

    def __init__(self, target: int) -> None:
        self.port = 0
        #: How often each fault has bitten: a connection turned away or broken, a chunk held, late or slow.
        self.bites: Counter[Fault] = Counter()
        #: How many bytes went through in either direction.
        self.passed = 0
        #: How many connections were broken.
        self.broken = 0
        self._target = target
        self._fault: Fault | None = None
        self._cut_after = 0
        self._loop = asyncio.new_event_loop()
        self._healed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @classmethod
    @contextmanager
    def opened(cls, target: int) -> Iterator[Self]:
        """Stand before a broker until the block ends."""
        proxy = cls(target)
        proxy._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(proxy._listen(), proxy._loop).result()
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(proxy._close(), proxy._loop).result()
            proxy._loop.call_soon_threadsafe(proxy._loop.stop)
            proxy._thread.join()
            proxy._loop.close()

    def harm(self, fault: Fault, *, cut_after: int = 0) -> None:
        """Go bad; ``cut_after`` is how many bytes a cut still lets through."""
        self._loop.call_soon_threadsafe(self._harm, fault, cut_after)

    def heal(self) -> None:
        """Be a good link again. What a black hole swallowed does not come back: its connections are broken."""
        self._loop.call_soon_threadsafe(self._heal)

    def _harm(self, fault: Fault, cut_after: int) -> None:
        self._fault = fault
        self._cut_after = cut_after
        self._healed.clear()
        if fault in {"down", "reset"}:
            self._break(fault)

    def _heal(self) -> None:
        if self._fault == "black hole":
            self._break("black hole")
        self._fault = None
        self._healed.set()

    def _break(self, fault: Fault) -> None:
        for writer in list(self._writers):
            self._reset(writer)
        if self._writers or fault != "black hole":
            self.bites[fault] += 1
        self.broken += bool(self._writers)
        self._writers.clear()

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        writer.transport.abort()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        self._heal()
        self._break("reset")
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault == "down":
            self.bites["down"] += 1
            self._reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._reset(writer)
            return
        ends = (writer, far_writer)
        self._writers.update(ends)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer), name="up")
                both.create_task(self._pump(far_reader, writer), name="down")
        except* (OSError, _CutError):
            pass
        finally:
            for end in ends:
                self._writers.discard(end)
                self._reset(end)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._pass_on(data, writer)
        # The other direction ends with this one.
        raise _CutError

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        match self._fault:
            case None | "reset" | "down":
                await self._send(data, writer)
            case "black hole":
                self.bites["black hole"] += 1
                await self._healed.wait()
                raise _CutError
            case "latency":
                self.bites["latency"] += 1
                await self._pause(_LATENCY_S)
                await self._send(data, writer)
            case "rate":
                self.bites["rate"] += 1
                for start in range(0, len(data), _PIECE_BYTES):
                    await self._pause(_PIECE_S)
                    await self._send(data[start : start + _PIECE_BYTES], writer)
            case "cut":
                if len(data) < self._cut_after:
                    self._cut_after -= len(data)
                    await self._send(data, writer)
                    return
                await self._send(data[: self._cut_after], writer)
                self.bites["cut"] += 1
                self.broken += 1
                self._fault = None
                raise _CutError
            case never:
                assert_never(never)

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        self.passed += len(data)

    async def _pause(self, seconds: float) -> None:
        """Hold a piece back, unless the link heals meanwhile."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._healed.wait(), seconds)


class _CutError(Exception):
    """A connection ends here."""
