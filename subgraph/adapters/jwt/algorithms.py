"""Owns which signatures are accepted, and which keys fit them: the family of an algorithm is that of its key."""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

PublicKey = RSAPublicKey | EllipticCurvePublicKey

RSA_BITS_MIN = 2048
CURVES: Mapping[str, str] = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
RSA_ALGORITHMS = ("RS256", "RS384", "RS512")


def fits(algorithm: str, key: object) -> bool:
    """Whether a public key is of the algorithm's kind, and strong enough."""
    if isinstance(key, RSAPublicKey):
        return algorithm in RSA_ALGORITHMS and key.key_size >= RSA_BITS_MIN
    return isinstance(key, EllipticCurvePublicKey) and CURVES.get(algorithm) == key.curve.name
