"""The commands of docs/operations.md give certificates that pass strict checks, Python's default since 3.13."""

import re
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.support.required_tools import need
from tests.support.security.certificates import LOCAL, Authority

PAGE = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")


def strict(side: int, *, authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """A context that shows this certificate and asks for one of this authority."""
    context = ssl.SSLContext(side)
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def shake_hands(name: str, *, authority: Path, certificate: Path, key: Path) -> None:
    """A handshake in which both sides check the same certificate. Raises `ssl.SSLError`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    files = {"authority": authority, "certificate": certificate, "key": key}
    client = strict(ssl.PROTOCOL_TLS_CLIENT, **files).wrap_bio(to_client, to_server, server_hostname=name)
    server = strict(ssl.PROTOCOL_TLS_SERVER, **files).wrap_bio(to_server, to_client, server_side=True)
    waiting = {client, server}
    while waiting:
        for one in tuple(waiting):
            try:
                one.do_handshake()
                waiting.discard(one)
            except ssl.SSLWantReadError:
                continue


def test_the_commands_of_the_page_give_certificates_that_pass_strict_checks(tmp_path: Path) -> None:
    openssl = need("openssl", install="install OpenSSL 3")
    [commands] = [block for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) if "openssl req" in block]
    subprocess.run(["sh", "-eu", "-c", commands], cwd=tmp_path, check=True, capture_output=True)
    [check] = re.findall(r"`(openssl verify [^`]*)`", PAGE)
    subprocess.run([openssl, *check.split()[1:]], cwd=tmp_path, check=True, capture_output=True)

    shake_hands("job", authority=tmp_path / "ca.pem", certificate=tmp_path / "job.pem", key=tmp_path / "job.key")


def test_certificates_of_tests_pass_strict_checks(tmp_path: Path) -> None:
    leaf = Authority(tmp_path / "pki").give("server", *LOCAL)

    shake_hands("localhost", authority=leaf.authority, certificate=leaf.certificate, key=leaf.key)


def test_a_certificate_of_another_authority_fails(tmp_path: Path) -> None:
    leaf, other = Authority(tmp_path / "pki").give("server", *LOCAL), Authority(tmp_path / "other")

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands("localhost", authority=other.file, certificate=leaf.certificate, key=leaf.key)
