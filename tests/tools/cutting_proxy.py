"""A proxy before PostgreSQL that cuts a connection after a COMMIT, before its answer arrives.

    with CuttingProxy(server.port) as proxy:
        proxy.cut(at=3)  # the third transaction that writes
        with proxy.hanging():  # connections stay open and nothing answers
            ...

The server has executed the COMMIT when the connection is cut, and the client never hears of it:
it cannot know whether its transaction happened. `proxy.commits` lists what the transactions that
wrote were about, so that a test can cut each of them in turn.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

WRITING = ("insert", "update", "delete", "create")
NO_STARTUP_YET = (80877103, 80877104)  # requests for SSL and GSSAPI, each answered by one byte
SYNC = b"S" + struct.pack("!i", 4)
QUERY, PARSE, BIND, EXECUTE, READY_FOR_QUERY = b"Q", b"P", b"B", b"E", b"Z"


@dataclass
class Conversation:
    """What a client has said on one connection (PostgreSQL manual, "Message Formats").

    Attributes:
        statements: Text of each prepared statement, by name.
        bound: Text of the statement that the next EXECUTE means.
        transaction: Statements executed since the last transaction ended.
    """

    statements: dict[bytes, str] = field(default_factory=dict)
    bound: str = ""
    transaction: list[str] = field(default_factory=list)

    def hear(self, kind: bytes, content: bytes) -> list[str]:
        """Follow a message; return what a transaction wrote when it is the COMMIT of one."""
        if kind == PARSE:
            name, text, _ = content.split(b"\0", 2)
            self.statements[name] = text.decode()
        elif kind == BIND:
            _, name, _ = content.split(b"\0", 2)
            self.bound = self.statements[name]
        elif kind in (QUERY, EXECUTE):
            return self._execute(content[:-1].decode() if kind == QUERY else self.bound)
        return []

    def _execute(self, text: str) -> list[str]:
        if text not in ("BEGIN", "COMMIT", "ROLLBACK"):
            self.transaction.append(" ".join(text.split()))
            return []
        ended, self.transaction = self.transaction, []
        if text != "COMMIT":
            return []
        return [statement for statement in ended if statement.lower().startswith(WRITING)]


class CuttingProxy:
    """Listens on a port of its own and passes everything on, save for what it is told to cut.

    Args:
        port: Where the server listens.

    Attributes:
        port: Where the proxy listens.
        commits: Each transaction that wrote, as the beginnings of its writing statements.
        cuts: Those of them that were cut.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.commits: list[str] = []
        self.cuts: list[str] = []
        self._lock = threading.Lock()
        self._countdown = self._times = 0
        self._about = ""
        self._flows = threading.Event()
        self._flows.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "CuttingProxy":
        return self

    def __exit__(self, *_error: object) -> None:
        self._flows.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Pass nothing on within the context, on old and new connections, but close none."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    def cut(self, *, at: int = 1, about: str = "", times: int = 1) -> None:
        """Cut the connection after the COMMIT of a transaction that writes.

        Args:
            at: Which one, counted from now.
            about: Counts only transactions of which a writing statement contains this.
            times: How many in a row.
        """
        with self._lock:
            self._countdown, self._about, self._times = at, about.lower(), times

    def _must_cut(self, writes: list[str]) -> bool:
        with self._lock:
            described = "; ".join(dict.fromkeys(" ".join(text.split()[:3]) for text in writes))
            self.commits.append(described)
            if self._times == 0 or not any(self._about in text.lower() for text in writes):
                return False
            self._countdown -= 1
            if self._countdown > 0:
                return False
            self._times -= 1
            self.cuts.append(described)
            return True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._converse, args=(client,), daemon=True).start()

    def _converse(self, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with client:
            try:
                self._flows.wait()
                with socket.create_connection(("127.0.0.1", self._server_port)) as server:
                    for connection in (client, server):
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _greet(client, server)
                    self._pass_on(client, server)
            except OSError:  # one of the two has gone, or is not there
                pass

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Pass the client's messages on until one is the COMMIT to cut."""
        answers = _Answers(server, client, self._flows)
        said = Conversation()
        while True:
            kind, message = _read_message(client)
            self._flows.wait()
            writes = said.hear(kind, message[5:])
            if writes and self._must_cut(writes):
                answers.keep_back()
                server.sendall(message if kind == QUERY else message + SYNC)
                answers.kept.wait()
                return
            server.sendall(message)


class _Answers:
    """Passes the server's messages on to the client, until it is told to keep them back.

    Attributes:
        kept: Set when a whole answer was kept back, or the server is gone.
    """

    def __init__(
        self, server: socket.socket, client: socket.socket, flows: threading.Event
    ) -> None:
        self._server = server
        self._client = client
        self._flows = flows
        self._keeps = False
        self.kept = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def keep_back(self) -> None:
        """Keep what comes; a client that waits for an answer before it asks has all others."""
        self._keeps = True

    def _run(self) -> None:
        try:
            while True:
                kind, message = _read_message(self._server)
                self._flows.wait()
                if not self._keeps:
                    self._client.sendall(message)
                elif kind == READY_FOR_QUERY:
                    return
        except OSError:
            _shut(self._client)
        finally:
            self.kept.set()


def _greet(client: socket.socket, server: socket.socket) -> None:
    """Pass on what comes before the first message that has a kind."""
    while True:
        length = _read(client, 4)
        content = _read(client, struct.unpack("!i", length)[0] - 4)
        server.sendall(length + content)
        if struct.unpack("!i", content[:4])[0] not in NO_STARTUP_YET:
            return
        client.sendall(_read(server, 1))


def _read_message(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the kind of a message and the whole of it."""
    head = _read(connection, 5)
    return head[:1], head + _read(connection, struct.unpack("!i", head[1:])[0] - 4)


def _read(connection: socket.socket, n_bytes: int) -> bytes:
    received = b""
    while len(received) < n_bytes:
        part = connection.recv(n_bytes - len(received))
        if not part:
            raise ConnectionResetError
        received += part
    return received


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may have gone already
        connection.shutdown(socket.SHUT_RDWR)
