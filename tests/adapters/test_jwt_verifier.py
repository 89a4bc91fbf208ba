"""Signed tokens: genuine ones that are in force are accepted, everything else is refused."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from subgraph.adapters.jwt.verifier import JwtVerifier, KeyFileUnusable, OneKey, read_public_key
from subgraph.operations.authentication import Authenticator, Unauthenticated
from subgraph.settings.tokens import PUBLIC_ALGORITHMS
from tests.support.issuer import ec_key, pem_of, rsa_key, token

pytestmark = pytest.mark.anyio

SECRET = b"a-shared-secret-of-at-least-32-bytes!"
RSA, EC = rsa_key(), ec_key()
OF_SECRET = JwtVerifier(OneKey(SECRET), ("HS256",))
OF_RSA = JwtVerifier(OneKey(RSA.public_key()), PUBLIC_ALGORITHMS)
OF_EC = JwtVerifier(OneKey(EC.public_key()), PUBLIC_ALGORITHMS)


def unsigned(header: object, claims: object) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (header, claims))
    return ".".join((*parts, ""))


async def refused(verifier: JwtVerifier, text: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        await verifier.verify(text)
    assert not refusal.value.is_missing


async def test_a_token_of_each_family_is_accepted_with_its_claims() -> None:
    for verifier, text in (
        (OF_SECRET, token(SECRET, "HS256", seconds=60)),
        (OF_RSA, token(RSA, "RS256")),
        (OF_RSA, token(RSA, "RS512")),
        (OF_EC, token(EC, "ES256")),
    ):
        assert (await verifier.verify(text))["sub"] == "ann"


@pytest.mark.parametrize(("algorithm", "curve"), [("ES384", ec.SECP384R1()), ("ES512", ec.SECP521R1())])
async def test_each_curve_goes_with_its_algorithm_and_no_other(algorithm: str, curve: ec.EllipticCurve) -> None:
    key = ec_key(curve)
    verifier = JwtVerifier(OneKey(key.public_key()), PUBLIC_ALGORITHMS)
    assert await verifier.verify(token(key, algorithm))
    await refused(verifier, token(EC, "ES256"))


async def test_a_public_key_does_not_serve_as_a_shared_secret() -> None:
    pem = pem_of(RSA)
    head = unsigned({"alg": "HS256", "typ": "JWT"}, {"sub": "eve", "tenant": "acme", "exp": time.time() + 60})[:-1]
    mac = base64.urlsafe_b64encode(hmac.new(pem, head.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    for algorithms in (PUBLIC_ALGORITHMS, (*PUBLIC_ALGORITHMS, "HS256")):
        await refused(JwtVerifier(OneKey(RSA.public_key()), algorithms), f"{head}.{mac}")


async def test_a_token_that_is_not_signed_is_refused_however_it_spells_that() -> None:
    claims = {"sub": "eve", "tenant": "acme", "exp": time.time() + 60}
    for spelling in ("none", "None", "NONE", "nOnE", "", None, 0, ["RS256"], {"a": 1}):
        for verifier in (OF_SECRET, OF_RSA):
            await refused(verifier, unsigned({"alg": spelling, "typ": "JWT"}, claims))
    await refused(JwtVerifier(OneKey(SECRET), ("none", "HS256")), unsigned({"alg": "none"}, claims))


async def test_an_algorithm_that_is_not_accepted_is_refused_though_the_key_fits() -> None:
    only = JwtVerifier(OneKey(RSA.public_key()), ("RS256",))
    await refused(only, token(RSA, "RS384"))
    await refused(only, token(RSA, "PS256"))
    await refused(OF_SECRET, token(SECRET * 2, "HS512"))


async def test_another_ones_signature_is_refused() -> None:
    await refused(OF_RSA, token(rsa_key(), "RS256"))
    await refused(OF_SECRET, token(SECRET + b"?", "HS256"))


async def test_changed_claims_are_refused() -> None:
    head, claims, signature = token(RSA, "RS256").split(".")
    _, others, _ = token(RSA, "RS256", sub="eve").split(".")
    await refused(OF_RSA, f"{head}.{others}.{signature}")
    assert await OF_RSA.verify(f"{head}.{claims}.{signature}")


async def test_expired_tokens_those_not_yet_in_force_and_those_for_ever_are_refused() -> None:
    await refused(OF_RSA, token(RSA, "RS256", seconds=-1))
    await refused(OF_RSA, token(RSA, "RS256", nbf=time.time() + 60))
    await refused(OF_RSA, token(RSA, "RS256", iat=time.time() + 60))
    await refused(OF_RSA, token(RSA, "RS256", exp=None))
    await refused(OF_RSA, token(RSA, "RS256", exp="soon"))


@pytest.mark.parametrize("exp", ["99999999999", 10**400])
async def test_a_token_whose_end_is_no_time_identifies_nobody(exp: object) -> None:
    with pytest.raises(Unauthenticated):
        await Authenticator(verifier=OF_SECRET).authenticate(token(SECRET, "HS256", exp=exp))


async def test_leeway_forgives_clocks_that_differ_so_much_and_no_more() -> None:
    patient = JwtVerifier(OneKey(RSA.public_key()), PUBLIC_ALGORITHMS, leeway_seconds=30)
    assert await patient.verify(token(RSA, "RS256", seconds=-10))
    assert await patient.verify(token(RSA, "RS256", nbf=time.time() + 10))
    await refused(patient, token(RSA, "RS256", seconds=-60))


async def test_issuer_and_audience_are_compared_where_they_are_set() -> None:
    strict = JwtVerifier(OneKey(RSA.public_key()), PUBLIC_ALGORITHMS, "https://issuer.example", "session-manager")
    good: dict[str, Any] = {"iss": "https://issuer.example", "aud": ["other", "session-manager"]}
    assert await strict.verify(token(RSA, "RS256", **good))
    bads: list[dict[str, Any]] = [{"iss": "https://evil.example"}, {"iss": None}, {"aud": "other"}, {"aud": None}]
    for bad in [*bads, {"aud": []}]:
        await refused(strict, token(RSA, "RS256", **{**good, **bad}))
    assert await OF_RSA.verify(token(RSA, "RS256", **good)), "where they are not set, anything goes"


async def test_extensions_that_must_be_understood_are_not() -> None:
    claims = {"sub": "ann", "tenant": "acme", "exp": time.time() + 60}
    await refused(OF_RSA, jwt.encode(claims, RSA, "RS256", headers={"crit": ["exp"]}))


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é.é.é", "x" * 9_000, "null.null.null", "\x00", "eyJ9.e30."])
async def test_what_is_no_token_is_refused(text: str) -> None:
    await refused(OF_RSA, text)


async def test_a_token_of_great_length_is_refused_unread() -> None:
    await refused(OF_RSA, token(RSA, "RS256", ballast="x" * 10_000))


def test_a_key_file_is_a_public_key_strong_enough_for_an_accepted_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem_of(RSA))
    assert read_public_key(path, PUBLIC_ALGORITHMS).public_numbers() == RSA.public_key().public_numbers()
    with pytest.raises(KeyFileUnusable, match="fits none of ES256"):
        read_public_key(path, ("ES256",))
    path.write_bytes(pem_of(rsa_key(1024)))
    with pytest.raises(KeyFileUnusable, match="2048 bits"):
        read_public_key(path, PUBLIC_ALGORITHMS)
    path.write_text("no key at all")
    with pytest.raises(KeyFileUnusable, match=r"key\.pem"):
        read_public_key(path, PUBLIC_ALGORITHMS)
    with pytest.raises(KeyFileUnusable, match="absent"):
        read_public_key(tmp_path / "absent", PUBLIC_ALGORITHMS)
