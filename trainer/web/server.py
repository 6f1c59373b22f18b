"""The HTTP server in a thread of its own: the one door to uvicorn."""

import socket
import threading

import uvicorn
from fastapi import FastAPI

from shared.errors import ConfigError

#: Above this many connections at once a caller is told to come back (503).
_MAX_CONNECTIONS = 256
_IDLE_S = 15
_STOP_WITHIN_S = 3


class HttpServer:
    """Serves one application on one address until stopped."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._socket = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_STOP_WITHIN_S,
            server_header=False,
            http="h11",
            loop="asyncio",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    def start(self) -> None:
        """Answer from here on."""
        self._thread.start()

    def alive(self) -> bool:
        """Say whether the thread still serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finish the requests in hand, but not for long, and close the address."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_STOP_WITHIN_S + 2)
        self._socket.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"trainer.http_host {host}: {error.strerror}; give an address of this machine") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Who asks before the thread is up waits instead of being refused.
        listener.listen(_MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"trainer.http_port {port} on {host}: {error.strerror}; free it, name another, or 0 for any"
        ) from None
    return listener
