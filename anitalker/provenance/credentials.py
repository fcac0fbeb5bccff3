"""Content credentials (C2PA): who made a file, with what, and whether it is as it was made.

Each output carries a signed manifest: created by a trained algorithm, with which model, when. The signer is the user's
own certificate, or an identity of this machine, made on first use. The latter is on no trust list: it proves that a
file is unaltered, not who made it.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from anitalker import __version__
from anitalker.config import InputError

NAME = "AniTalker"
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FACTS = "org.anitalker.render"  # label of the assertion that names model, weights and seed
ISSUER = "AniTalker, self-issued on this machine"
YEARS = 10  # of a machine's own identity
TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".m4v": "video/mp4", ".avi": "video/avi"}
TYPES |= {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generator:
    """What made a file: model name, SHA-256 of its weights (one or two files), seed."""

    model: str
    weights: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class SigningIdentity:
    """PEM texts: the signer's certificate followed by those that vouch for it, and the signer's private key."""

    chain: bytes
    key: bytes
    algorithm: str  # of C2PA: es256, es384, es512, ps256 or ed25519


@dataclass(frozen=True)
class Credentials:
    """What a file's manifest says. status: none, intact, altered or unreadable; problems: the validator's own codes."""

    status: str = "none"
    generator: str | None = None
    source_type: str | None = None
    made: str | None = None
    origin: dict | None = None
    signer: str | None = None
    trusted: bool = False
    problems: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it says that AniTalker made the file."""
        return (self.generator or "").split(" ")[0] == NAME


def config_dir() -> Path:
    """The user's folder for what is kept about him: ANITALKER_CONFIG, or the system's place for it."""
    if chosen := os.environ.get("ANITALKER_CONFIG"):
        return Path(chosen)
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "anitalker"


def signing_identity() -> SigningIdentity | None:
    """The certificate of ANITALKER_CERTIFICATE and ANITALKER_KEY (PEM files), else this machine's own, made if need
    be; None, and a warning, where c2pa-python cannot be used."""
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # its library may not fit the system
        log.warning("no content credentials: c2pa-python cannot be used (%s); pip install c2pa-python", error)
        return None
    chosen = [os.environ.get(name) for name in ("ANITALKER_CERTIFICATE", "ANITALKER_KEY")]
    if any(chosen):
        return _users(*chosen)
    return _own(str(config_dir()))


def _users(chain: str | None, key: str | None) -> SigningIdentity:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if not chain or not key:
        raise InputError("ANITALKER_CERTIFICATE and ANITALKER_KEY belong together; set both to PEM files, or none")
    try:
        texts = Path(chain).read_bytes(), Path(key).read_bytes()
        private = serialization.load_pem_private_key(texts[1], None)
        algorithm = _algorithm(private)
        if x509.load_pem_x509_certificates(texts[0])[0].public_key() != private.public_key():
            raise ValueError("they do not belong together")
    except (OSError, TypeError, ValueError) as error:
        raise InputError(
            f"certificate {chain!r} with key {key!r} cannot be used ({error}); give PEM files, the key unlocked"
        ) from None
    return SigningIdentity(*texts, algorithm)


def _algorithm(key: object) -> str:
    """C2PA's name of the algorithm that belongs to a private key; ValueError for kinds that it does not allow."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in (256, 384, 521):
        return f"es{min(key.curve.key_size, 512)}"
    raise ValueError("the key is neither P-256, P-384, P-521, RSA nor Ed25519")


@functools.lru_cache(maxsize=4)
def _own(folder: str) -> SigningIdentity:
    """This machine's identity from `folder`/identity.pem, made there if need be; for this process if it cannot."""
    file = Path(folder) / "identity.pem"
    try:
        if not file.exists():
            _keep(file, _made())
        text = file.read_bytes()
    except OSError as error:
        log.warning("no identity can be kept in %r (%s); this one lasts as long as the program", folder, error.strerror)
        text = _made()
    chain, mark, key = text.partition(b"-----BEGIN PRIVATE KEY-----")
    if not mark or not chain:
        raise InputError(f"identity {str(file)!r} is damaged; delete it, and a new one is made")
    return SigningIdentity(chain, mark + key, "es256")


def _keep(file: Path, text: bytes) -> None:
    """Write with mode 0600, whole or not at all; where another process was first, its identity stays."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=file.parent, prefix=".identity.")  # 0600 from the start
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text)
        if os.name == "nt":
            os.replace(part, file)
        else:
            os.link(part, file)  # unlike a rename it never replaces
    except FileExistsError:
        pass
    finally:
        Path(part).unlink(missing_ok=True)


def _made() -> bytes:
    """PEM: a certificate of a new signer, that of a new authority, the signer's key. The authority's key is forgotten,
    so that nobody can issue another one in its name."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = [
        _certificate("signer", signer, authority, authority=False),
        _certificate("authority", authority, authority, authority=True),
    ]
    text = b"".join(one.public_bytes(pem.Encoding.PEM) for one in chain)
    return text + signer.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())


def _certificate(name: str, key, issuer, authority: bool):
    """An X.509 certificate as C2PA asks for it (specification 2.2, section 14.5)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(common: str) -> x509.Name:
        parts = {NameOID.ORGANIZATION_NAME: ISSUER, NameOID.COMMON_NAME: common}
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts.items()])

    now, other = datetime.now(timezone.utc), [False] * 4
    usage = x509.KeyUsage(not authority, *other, authority, authority, False, False)
    made = (
        x509.CertificateBuilder(named("authority"), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    if not authority:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(issuer, hashes.SHA256())


def sign_video(source: Path, target: Path, origin: Generator, who: SigningIdentity, title: str) -> None:
    """Copy an MP4 with its credentials added; `title` is the name under which it will be known."""
    import c2pa

    settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(who.algorithm.encode(), who.chain, who.key, None))
    try:
        with open(source, "rb") as reader, open(target, "w+b") as writer:
            c2pa.Builder(build_manifest(origin, title), c2pa.Context.from_dict(settings)).sign(
                signer, "video/mp4", reader, writer
            )
    except c2pa.C2paError as error:
        raise InputError(
            f"the credentials cannot be signed ({error}); check ANITALKER_CERTIFICATE, or give --no-marks"
        ) from None


def build_manifest(origin: Generator, title: str) -> dict:
    """What is said of an output: made by a trained algorithm, when, and by which model."""
    tool = {"name": NAME, "version": __version__}
    when = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    made = {"action": "c2pa.created", "when": when, "softwareAgent": tool, "digitalSourceType": SYNTHETIC}
    facts = {"model": origin.model, "weights_sha256": origin.weights, "seed": origin.seed, **tool}
    assertions = [{"label": "c2pa.actions", "data": {"actions": [made]}}, {"label": FACTS, "data": facts}]
    return {"claim_generator_info": [tool], "title": title, "assertions": assertions}


def read_credentials(file: Path) -> Credentials:
    """The credentials of a picture or video file; fetches nothing from anywhere."""
    import c2pa

    kind = TYPES.get(file.suffix.lower())
    if kind is None:
        return Credentials()
    try:
        with open(file, "rb") as stream:
            offline = c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}})
            reader = c2pa.Reader.try_create(kind, stream, None, offline)
            if reader is None:
                return Credentials()
            found = json.loads(reader.json())
    except c2pa.C2paError as error:
        return Credentials("unreadable", problems=(" ".join(str(error).split())[:200],))
    return _told(found)


def _told(found: dict) -> Credentials:
    """The library's report as Credentials. Missing from a trust list is not a change of the file."""
    active = found["manifests"][found["active_manifest"]]
    tool = (active.get("claim_generator_info") or [{}])[0]
    results = found.get("validation_results", {}).get("activeManifest", {})
    problems = tuple(sorted({one["code"] for one in results.get("failure", [])}))
    said = {one["label"].split("__")[0]: one["data"] for one in active.get("assertions", [])}
    actions = next((data["actions"] for label, data in said.items() if label.startswith("c2pa.actions")), [])
    created = next((one for one in actions if one["action"] == "c2pa.created"), {})
    signature = active.get("signature_info") or {}
    return Credentials(
        "altered" if set(problems) - {"signingCredential.untrusted"} else "intact",
        " ".join(str(tool[key]) for key in ("name", "version") if key in tool) or None,
        created.get("digitalSourceType"),
        created.get("when"),
        said.get(FACTS),
        ", ".join(signature[key] for key in ("common_name", "issuer") if signature.get(key)) or None,
        "signingCredential.untrusted" not in problems,
        problems,
    )
