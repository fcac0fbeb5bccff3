"""Who signs: the user's own certificate, or an identity of this machine, made on first use.

The latter is on no trust list: it proves that a file is unaltered, not who made it.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.config import InputError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "AniTalker, self-issued on this machine"
TIMESTAMP_VARIABLE = "ANITALKER_TIMESTAMP"
VALID_YEARS = 10  # of the identity of a machine
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SigningIdentity:
    """The signer's certificate, followed by its issuers' certificates, and the signer's private key, as PEM texts."""

    chain: bytes
    key: bytes
    algorithm: str  # of C2PA: es256, es384, es512, ps256 or ed25519
    timestamp_url: str = ""  # of an authority that stamps the time (RFC 3161); empty: none is asked


def config_dir() -> Path:
    """Return the user's folder of settings: ANITALKER_CONFIG, or the one of the operating system."""
    if chosen := os.environ.get("ANITALKER_CONFIG"):
        return Path(chosen)
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "anitalker"


def signing_identity() -> SigningIdentity | None:
    """Return the identity of ANITALKER_CERTIFICATE and ANITALKER_KEY (PEM files), else that of this machine.

    The latter is made if there is none yet. ANITALKER_TIMESTAMP is the address of its time-stamping authority. None,
    and a warning, where c2pa-python cannot be used. InputError for files and addresses that cannot be used.
    """
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # its binary may not fit the system
        log.warning("no content credentials: c2pa-python cannot be used (%s); pip install c2pa-python", error)
        return None
    certificate, key = os.environ.get("ANITALKER_CERTIFICATE"), os.environ.get("ANITALKER_KEY")
    identity = _read_user_identity(certificate, key) if certificate or key else _machine_identity(str(config_dir()))
    return replace(identity, timestamp_url=check_timestamp_url(os.environ.get(TIMESTAMP_VARIABLE, "")))


def check_timestamp_url(url: str) -> str:
    """Return the address of a time-stamping authority, or an empty one; InputError if it is not one of http."""
    if url and not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise InputError(f"timestamp is {url[:80]!r}; allowed is the address of an RFC 3161 authority: http://...")
    return url


def _read_user_identity(chain: str | None, key: str | None) -> SigningIdentity:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if not chain or not key:
        raise InputError("ANITALKER_CERTIFICATE and ANITALKER_KEY belong together; set both to PEM files, or none")
    try:
        chain_pem, key_pem = Path(chain).read_bytes(), Path(key).read_bytes()
        private_key = serialization.load_pem_private_key(key_pem, None)
        algorithm = _algorithm(private_key)
        if x509.load_pem_x509_certificates(chain_pem)[0].public_key() != private_key.public_key():
            raise ValueError("they do not belong together")
    except (OSError, TypeError, ValueError) as error:
        raise InputError(
            f"certificate {chain!r} with key {key!r} cannot be used ({error}); give PEM files, the key unlocked"
        ) from None
    return SigningIdentity(chain_pem, key_pem, algorithm)


def _algorithm(key: object) -> str:
    """Return C2PA's name of the algorithm of a private key; ValueError for keys that C2PA does not allow."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in (256, 384, 521):
        return f"es{min(key.curve.key_size, 512)}"
    raise ValueError("the key is neither P-256, P-384, P-521, RSA nor Ed25519")


@functools.lru_cache(maxsize=4)
def _machine_identity(folder: str) -> SigningIdentity:
    """Read the identity of this machine from `folder`/identity.pem, made if it is missing.

    If the file cannot be written, the identity lasts as long as the process.
    """
    file = Path(folder) / "identity.pem"
    try:
        if not file.exists():
            _write_once(file, _create_identity())
        text = file.read_bytes()
    except OSError as error:
        log.warning("no identity can be kept in %r (%s); this one lasts as long as the program", folder, error.strerror)
        text = _create_identity()
    chain, header, key = text.partition(b"-----BEGIN PRIVATE KEY-----")
    if not header or not chain:
        raise InputError(f"identity {str(file)!r} is damaged; delete it, and a new one is made")
    return SigningIdentity(chain, header + key, "es256")


def _write_once(file: Path, text: bytes) -> None:
    """Write a file with mode 0600, whole or not at all. A file that another process wrote before stays."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=file.parent, prefix=".identity.")  # 0600 from the start
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text)
        if os.name == "nt":
            os.replace(part, file)
        else:
            os.link(part, file)  # unlike a rename it never replaces a file
    except FileExistsError:
        pass
    finally:
        Path(part).unlink(missing_ok=True)


def _create_identity() -> bytes:
    """Create a signer and its authority; return the certificates of both and the signer's key as PEM.

    The authority's key is not kept, so that nobody can issue another certificate in its name.
    """
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = [
        _certificate("signer", signer, authority, authority=False),
        _certificate("authority", authority, authority, authority=True),
    ]
    text = b"".join(certificate.public_bytes(pem.Encoding.PEM) for certificate in chain)
    return text + signer.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, authority: bool
) -> x509.Certificate:
    """Issue an X.509 certificate as C2PA requires it (specification 2.2, section 14.5)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def x509_name(common_name: str) -> x509.Name:
        attributes = {NameOID.ORGANIZATION_NAME: ISSUER, NameOID.COMMON_NAME: common_name}
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in attributes.items()])

    now = datetime.now(timezone.utc)
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder(x509_name("authority"), x509_name(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365 * VALID_YEARS))
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer, hashes.SHA256())
