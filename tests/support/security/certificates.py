"""A certificate authority for tests; its certificates follow RFC 5280, so that strict checks pass."""

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))

_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def uri(name: str) -> x509.GeneralName:
    """A URI as a certificate has it."""
    return x509.UniformResourceIdentifier(name)


def dns(name: str) -> x509.GeneralName:
    """A DNS name as a certificate has it."""
    return x509.DNSName(name)


@dataclass(frozen=True)
class Leaf:
    """Where a certificate, its key and its authority lie."""

    certificate: Path
    key: Path
    authority: Path


@dataclass
class Authority:
    """Signs every requested certificate; its files lie in `folder`."""

    folder: Path
    name: str = "authority"
    #: Hours for which its certificates, and its own, are valid.
    hours: float = 1.0
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.file = self.folder / f"{self.name}.pem"
        self.file.write_bytes(_pem(self._signed(self.name, self.key, (), is_authority=True)))

    def give(self, common_name: str, *names: x509.GeneralName) -> Leaf:
        """A certificate for one holder; a second one for the same holder replaces its files."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = Leaf(
            certificate=self.folder / f"{common_name}.crt", key=self.folder / f"{common_name}.key", authority=self.file
        )
        leaf.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        leaf.certificate.write_bytes(_pem(self._signed(common_name, key, names, is_authority=False)))
        return leaf

    def _signed(
        self,
        common_name: str,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...],
        *,
        is_authority: bool,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(common_name))
            .issuer_name(_named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=self.hours))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority=is_authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if not is_authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """An authority signs certificates, a holder signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
