"""Owns a provider of titles for tests: a real HTTP server on this machine that answers as a test says."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class TitleService:
    """What the server answers, what it was sent, and how many it was asked for at once at most."""

    url: str
    status: int = 200
    body: bytes = b'{"title": "Late trains", "model": "any"}'
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json; charset=utf-8"})
    silent_seconds: float = 0.0
    """How long it says nothing before it answers."""
    seconds_a_byte: float = 0.0
    """How long it takes for each byte of the body."""
    is_cut: bool = False
    """Whether the connection ends in the middle of the body."""
    sent: list[dict[str, object]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0


@contextlib.contextmanager
def title_service() -> Iterator[TitleService]:
    """A provider on 127.0.0.1, until the end."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with lock:
                service.at_once += 1
                service.most_at_once = max(service.most_at_once, service.at_once)
                service.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                service.authorizations.append(self.headers["Authorization"])
                service.paths.append(self.path)
            time.sleep(service.silent_seconds)
            with lock:
                service.at_once -= 1
            with contextlib.suppress(ConnectionError):
                self.answer()

        def answer(self) -> None:
            self.send_response(service.status)
            for name, value in service.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(service.body)))
            self.end_headers()
            if service.is_cut:
                self.wfile.write(service.body[:5])
                self.close_connection = True
            elif service.seconds_a_byte:
                for byte in service.body:
                    time.sleep(service.seconds_a_byte)
                    self.wfile.write(bytes([byte]))
            else:
                self.wfile.write(service.body)

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service = TitleService(f"http://127.0.0.1:{server.server_port}/v1/title")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
