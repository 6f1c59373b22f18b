"""A camera that speaks RTSP on loopback: motion JPEG (RFC 2435) in RTP, interleaved in the one TCP connection.

Pictures go out when the test says so, so that nothing depends on time. It can ask for a password, break a
connection off, and answer nothing at all.
"""

import base64
import io
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

#: What ends a connection instead of sending a picture.
CUT = None


class RtspServer:
    """One camera; every picture goes to whoever looks."""

    def __init__(self, *, user: str = "", password: str = "", silent: bool = False) -> None:
        self.asked: list[str] = []
        self._wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._silent = silent
        self._pictures: queue.Queue[NDArray[np.uint8] | None] = queue.Queue()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._playing = threading.Event()
        self._closed = False
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="rtsp-server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/line"

    def show(self, *greys: int, height: int = 48, width: int = 64) -> None:
        """Send plain pictures of these greys."""
        for grey in greys:
            self._pictures.put(np.full((height, width, 3), grey, dtype=np.uint8))

    def cut(self) -> None:
        """Break the connection off when what is shown was sent."""
        self._pictures.put(CUT)

    def close(self) -> None:
        self._closed = True
        self._pictures.put(CUT)
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        connection = self._connection
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        while not self._closed:
            try:
                self._connection, _ = self._server.accept()
            except OSError:
                return
            with self._connection, self._connection.makefile("rb") as stream:
                try:
                    self._talk(stream)
                except OSError:
                    continue

    def _talk(self, stream: io.BufferedIOBase) -> None:
        assert self._connection is not None
        for request in _requests(stream):
            method = request[0].split()[0]
            self.asked.append(method)
            if self._silent:
                continue
            fields = dict(line.split(": ", 1) for line in request[1:])
            if self._wanted and fields.get("Authorization") != self._wanted:
                self._answer(fields, "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n')
            elif method == "DESCRIBE":
                words = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=line\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:one\r\n"
                )
                self._answer(fields, "200 OK", f"Content-Type: application/sdp\r\nContent-Base: {self.url}/\r\n", words)
            elif method == "SETUP":
                self._answer(fields, "200 OK", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n")
            else:
                self._answer(fields, "200 OK", "Session: 1\r\nPublic: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n")
            if method == "PLAY":
                self._play()
                return

    def _answer(self, fields: dict[str, str], status: str, more: str, body: str = "") -> None:
        assert self._connection is not None
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"RTSP/1.0 {status}\r\nCSeq: {fields['CSeq']}\r\n{more}{length}\r\n"
        self._connection.sendall((head + body).encode())

    def _play(self) -> None:
        assert self._connection is not None
        number = 0
        turn = 0
        while (pixels := self._pictures.get()) is not CUT:
            turn += 1
            for packet in _packets(pixels, number, turn):
                number += 1
                self._connection.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)


def _requests(stream: io.BufferedIOBase) -> Iterator[list[str]]:
    lines: list[str] = []
    for line in stream:
        text = line.decode("ascii", "replace").rstrip("\r\n")
        if text:
            lines.append(text)
        elif lines:
            yield lines
            lines = []


def _packets(pixels: NDArray[np.uint8], number: int, turn: int) -> Iterator[bytes]:
    """Cut one picture into RTP packets."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    tables, scan = _parts(buffer.getvalue())
    height, width = pixels.shape[:2]
    for at in range(0, len(scan), 1000):
        piece = scan[at : at + 1000]
        last = at + 1000 >= len(scan)
        header = struct.pack(">BBHII", 0x80, 26 | (0x80 if last else 0), number & 0xFFFF, turn * 9000, 7)
        jpeg = struct.pack(">I", at) + bytes([1, 255, width // 8, height // 8])
        quantisation = struct.pack(">BBH", 0, 0, len(tables)) + tables if at == 0 else b""
        yield header + jpeg + quantisation + piece
        number += 1


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """Take the quantisation tables and the scan out of a JPEG file."""
    tables = b""
    at = 2
    while True:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        segment = data[at + 4 : at + 2 + length]
        if marker == 0xDB:
            while segment:
                tables, segment = tables + segment[1:65], segment[65:]
        at += 2 + length
        if marker == 0xDA:
            return tables, data[at:-2]
