"""Owns an issuer of tokens for tests: keys of its own, and an endpoint on this machine that publishes them."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def pem_of(key: PrivateKey) -> bytes:
    """The public half, as a file holds it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk_of(key: PrivateKey, key_id: str | None = None, **more: object) -> dict[str, Any]:
    """The public half, as an endpoint publishes it."""
    public = key.public_key()
    algorithm: Any = RSAAlgorithm if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm
    made: dict[str, Any] = json.loads(algorithm.to_jwk(public))
    return {**made, **({"kid": key_id} if key_id else {}), **more}


def token(
    key: PrivateKey | bytes, algorithm: str, key_id: str | None = None, seconds: float = 60, **claims: object
) -> str:
    """A signed token of ann of acme, which expires after so many seconds."""
    told = {"sub": "ann", "tenant": "acme", "exp": time.time() + seconds, **claims}
    kept = {name: value for name, value in told.items() if value is not None}
    return jwt.encode(kept, key, algorithm, headers={"kid": key_id} if key_id else None)


class Endpoint:
    """Publishes what a test says, and counts who asks."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0
        self.status = 200
        self.body = b"{}"
        self.headers: dict[str, str] = {}
        self.silent_seconds = 0.0

    def publish(self, *jwks: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": jwks}).encode()


@contextlib.contextmanager
def published(*jwks: dict[str, Any]) -> Iterator[Endpoint]:
    """An endpoint on 127.0.0.1 that publishes these keys until told otherwise."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            endpoint.asked += 1
            time.sleep(endpoint.silent_seconds)
            with contextlib.suppress(ConnectionError):
                self.send_response(endpoint.status)
                for name, value in endpoint.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(endpoint.body)))
                self.end_headers()
                self.wfile.write(endpoint.body)

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/jwks.json")
    endpoint.publish(*jwks)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
