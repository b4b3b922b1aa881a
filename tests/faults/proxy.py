"""A way to a server that can be made bad: it refuses, breaks, answers slowly or not at all."""

from __future__ import annotations

import socket
import struct
import threading
import time
from enum import StrEnum, auto
from types import TracebackType
from typing import Self

_HOST = "127.0.0.1"
_BLOCK_BYTES = 16 * 1024
_SLOW_BYTES = 512
_SLOW_PAUSE_SECONDS = 0.02
_LOOK_SECONDS = 0.02
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that lets ``close`` send an RST."""


class Mood(StrEnum):
    GOOD = auto()
    REFUSE = auto()
    RESET = auto()
    """Each connection breaks as soon as something comes from the server."""
    HANG = auto()
    SLOW = auto()
    """25 kB/s."""


class Proxy:
    """Listens on ``port`` of loopback; a context manager. ``mood`` may change at any time, for open connections too."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._mood = Mood.GOOD
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        if mood in (Mood.REFUSE, Mood.RESET):
            with self._lock:
                for connection in self._open:
                    _reset(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.mood = Mood.REFUSE
        self._thread.join()
        self._listener.close()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen()
        listener.settimeout(_LOOK_SECONDS)
        return listener

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._mood is Mood.REFUSE:
                # A port that nobody listens on answers with an RST as well; only a moment earlier.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            try:
                server = socket.create_connection((_HOST, self._server_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, target, source is server), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        try:
            while block := source.recv(_SLOW_BYTES if self._mood is Mood.SLOW else _BLOCK_BYTES):
                while self._mood is Mood.HANG and not self._ended.is_set():
                    time.sleep(_LOOK_SECONDS)
                if self._mood is Mood.SLOW:
                    time.sleep(_SLOW_PAUSE_SECONDS)
                if self._mood is Mood.RESET and from_server:
                    break
                target.sendall(block)
            else:
                target.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        with self._lock:
            for connection in (source, target):
                _reset(connection)
                self._open.discard(connection)


def _reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has gone
