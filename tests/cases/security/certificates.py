"""Certificates for tests: an authority, and what it signs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str) -> Certificate:
    """Make an authority, in files that are named after it."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _write(folder, name, key, _builder(name, key.public_key(), name).sign(key, hashes.SHA256()))


def signed(folder: Path, by: Certificate, name: str, *hosts: str) -> Certificate:
    """Make a server's certificate for these hosts or addresses, signed by an authority."""
    issuer = x509.load_pem_x509_certificate(by.certificate.read_bytes())
    signer = serialization.load_pem_private_key(by.key.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.IPAddress(ip_address(h)) if h[0].isdigit() else x509.DNSName(h) for h in hosts]
    builder = _builder(name, key.public_key(), issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _write(folder, name, key, builder.sign(signer, hashes.SHA256()))


def _builder(name: str, key: ec.EllipticCurvePublicKey, issuer: str | bytes) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    common = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(one))]) for one in (name, issuer)]
    return (
        x509.CertificateBuilder()
        .subject_name(common[0])
        .issuer_name(common[1])
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    )


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Certificate:
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
