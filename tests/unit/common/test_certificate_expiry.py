"""When certificate files expire is seen, also after they were replaced."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.certificate_expiry import CertificateExpiry, certificate_files
from common.grpc_tls import TlsSettings
from common.telemetry import metrics
from services.uploader.settings import Settings
from tests.support.security.certificates import Authority, Leaf

HOUR = 3_600.0


@pytest.fixture
def leaf(tmp_path: Path) -> Leaf:
    """A certificate that expires in an hour."""
    return Authority(tmp_path / "pki").give("somebody")


def seen(file: str) -> float:
    return next(
        sample.value
        for family in metrics.PROCESS.collect()
        for sample in family.samples
        if sample.name == "calotype_certificate_expires_in_seconds" and sample.labels["file"] == file
    )


async def test_a_certificate_and_its_authorities_are_read_again_and_again(leaf: Leaf, tmp_path: Path) -> None:
    later = Authority(tmp_path / "later", hours=48).give("somebody")
    expiry = CertificateExpiry(
        certificate_files(TlsSettings(grpc_tls_cert_file=leaf.certificate, grpc_tls_ca_file=leaf.authority))
    )
    await expiry.run_once()
    assert [seen("grpc"), seen("grpc_authorities")] == pytest.approx([HOUR, HOUR], abs=60)

    # In a chain the first one to expire counts, of authorities the last one.
    for path, added in ((leaf.certificate, later.certificate), (leaf.authority, later.authority)):
        path.write_bytes(path.read_bytes() + added.read_bytes())
    await expiry.run_once()
    assert seen("grpc") == pytest.approx(HOUR, abs=60)
    assert seen("grpc_authorities") == pytest.approx(48 * HOUR, abs=60)


async def test_a_file_that_cannot_be_read_keeps_what_was_seen(leaf: Leaf) -> None:
    now = datetime.now(UTC).timestamp()
    expiry = CertificateExpiry({"grpc": leaf.certificate}, clock=lambda: datetime.fromtimestamp(now, UTC))
    await expiry.run_once()
    for content in (b"no certificate", None):
        leaf.certificate.unlink() if content is None else leaf.certificate.write_bytes(content)
        now += HOUR
        await expiry.run_once()

    assert seen("grpc") == pytest.approx(-HOUR, abs=60)


def test_files_are_those_of_the_settings(tmp_path: Path) -> None:
    paths = {"grpc_tls_cert_file": tmp_path / "own", "nats_tls_ca_file": tmp_path / "nats"}
    settings = Settings(nats_url="", grpc_listen="", worker_address="", bucket="", staging_bucket="", **paths)  # type: ignore[call-arg, arg-type]

    assert certificate_files(settings) == {"grpc": tmp_path / "own", "nats_authorities": tmp_path / "nats"}
    assert certificate_files(TlsSettings()) == {}
