"""A private certificate authority for those who have none: `swarmsyncd certs`. ECDSA P-256, X.509 version 3.

One authority, one certificate for the API and NATS. Who connects trusts the authority and nothing else.
"""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarmsync.errors import ConfigError

AUTHORITY_DAYS: Final = 3_650
SERVER_DAYS: Final = 397
#: Core's own programs always connect over these.
ALWAYS: Final = ("localhost", "127.0.0.1", "::1")


def make(directory: Path, names: Sequence[str], *, days: int = SERVER_DAYS) -> tuple[Path, Path, Path]:
    """Make server.pem and server.key for these names, signed by the directory's authority, which is made where absent.

    Returns the paths of the certificate, its key, and the authority's certificate. Raises ConfigError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, authority_key = _authority(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = [_general_name(name) for name in dict.fromkeys([*names, *ALWAYS])]
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (names[0] if names else ALWAYS[0])[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(directory / "server.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(directory / "server.key", _pem(key), 0o600)
    return directory / "server.pem", directory / "server.key", directory / "ca.pem"


def _authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_path, key_path = directory / "ca.pem", directory / "ca.key"
    if certificate_path.exists() and key_path.exists():
        loaded = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{key_path} is not a key that this command made; choose another --out")
        return x509.load_pem_x509_certificate(certificate_path.read_bytes()), loaded
    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SwarmSync private authority")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(key_path, _pem(key), 0o600)
    return certificate, key


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not name or len(name) > 253 or any(ord(letter) <= 32 or ord(letter) > 126 for letter in name):
        raise ConfigError(f"{name[:80]!r} is neither a name nor an address")
    return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    fresh.rename(path)
