"""Certificates of an installation: an authority that stays in the folder of secrets, and what it signs.

They follow RFC 5280, so that strict clients accept them.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Days for which an authority is valid.
AUTHORITY_DAYS = 3650
#: Days for which a certificate of a service is valid.
CERTIFICATE_DAYS = 397
_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, kw_only=True)
class SignedCertificate:
    """A certificate with its private key, as PEM."""

    #: The certificate.
    certificate: str
    #: Its private key in PKCS 8, without a password.
    key: str


def new_authority(name: str) -> SignedCertificate:
    """Returns an authority that signs itself, valid for `AUTHORITY_DAYS`."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key.public_key(), AUTHORITY_DAYS, is_authority=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    return _signed(builder, key, key)


def issue(authority: SignedCertificate, common_name: str, names: Sequence[str]) -> SignedCertificate:
    """Returns a certificate for a server that is also a client, valid for `CERTIFICATE_DAYS`.

    `names` are DNS names or IP addresses by which the server is reached. Raises `ValueError` for an authority that
    cannot be read.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    issuer_key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is of another type")  # noqa: TRY004 - it is what a file holds
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_name = str(issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    builder = (
        _builder(common_name, issuer_name, key.public_key(), CERTIFICATE_DAYS, is_authority=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
    )
    return _signed(builder, key, issuer_key)


def end_of(certificate: str) -> datetime:
    """Returns the time at which a certificate in PEM ends."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def _builder(
    name: str, issuer: str, key: ec.EllipticCurvePublicKey, days: int, *, is_authority: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_distinguished(name))
        .issuer_name(_distinguished(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks of other machines may be slow.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> SignedCertificate:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return SignedCertificate(certificate=certificate.decode(), key=private.decode())


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
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


def _distinguished(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
