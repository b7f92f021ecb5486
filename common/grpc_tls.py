"""TLS for gRPC from three PEM files, checked at the start; servers load changed files at the next handshake."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from common.config import ConfigError
from common.logs import event

_LOG = logging.getLogger(__name__)
_CERT, _KEY, _CA = (f"CALOTYPE_GRPC_TLS_{name}_FILE" for name in ("CERT", "KEY", "CA"))


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """PEM files for TLS between services; certificate and key are set together or not at all."""

    #: This process's certificate chain. None: a server has no TLS, a client sends no certificate.
    grpc_tls_cert_file: Path | None = None
    #: Private key of the certificate, without a password.
    grpc_tls_key_file: Path | None = None
    #: Authorities of the other side's certificate. None: a server requires no client certificate, and a client that
    #: has a certificate trusts gRPC's built-in authorities.
    grpc_tls_ca_file: Path | None = None


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """Returns a server's credentials, which require a client certificate when authorities are set; None without files.

    Raises `ConfigError`.
    """
    own = _own(settings)
    if own is None:
        if settings.grpc_tls_ca_file is not None:
            raise ConfigError(
                f"{_CA} needs {_CERT} and {_KEY}: a server without a certificate cannot check those of clients."
            )
        return None
    files, requires_client = _Files(own, settings.grpc_tls_ca_file), settings.grpc_tls_ca_file is not None
    # The stubs do not know that the fetcher may return None for "unchanged".
    return grpc.dynamic_ssl_server_credentials(files.read(), files.renewed, requires_client)  # type: ignore[arg-type]


def channel_credentials(settings: TlsSettings) -> grpc.ChannelCredentials | None:
    """Returns a client's credentials, which trust the set authorities, or else the default ones; None without files.

    Raises `ConfigError`.
    """
    own, authorities = _own(settings), _read_authorities(settings.grpc_tls_ca_file)
    if own is None and authorities is None:
        return None
    key, certificate = (None, None) if own is None else _read_own(own)
    return grpc.ssl_channel_credentials(authorities, key, certificate)


def _own(settings: TlsSettings) -> tuple[Path, Path] | None:
    certificate, key = settings.grpc_tls_cert_file, settings.grpc_tls_key_file
    if certificate is not None and key is not None:
        return certificate, key
    if certificate is not None or key is not None:
        present, missing = (_CERT, _KEY) if key is None else (_KEY, _CERT)
        raise ConfigError(f"{present} is set and {missing} is not; a certificate and its key are needed together.")
    return None


def _read_own(own: tuple[Path, Path]) -> tuple[bytes, bytes]:
    """Returns key and certificate chain, in gRPC's order. Raises `ConfigError` unless they belong together."""
    certificate, key = own
    contents = _content(key), _content(certificate)
    try:
        # With an empty password, a key that has one is refused; without, OpenSSL would prompt on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ConfigError(f"{_CERT} and {_KEY}: {certificate} and {key} are no certificate with its key.") from error
    return contents


def _read_authorities(path: Path | None) -> bytes | None:
    """Returns the authorities, None without a file. Raises `ConfigError`."""
    if path is None:
        return None
    content = _content(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{_CA}: {path} holds no certificate.") from error
    return content


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The TLS file {path} cannot be read.") from error


class _Files:
    """A server's PEM files; gRPC calls `renewed` at every handshake, on one of its threads."""

    def __init__(self, own: tuple[Path, Path], authorities: Path | None) -> None:
        self._own = own
        self._authorities = authorities
        self._stamps = self._stat()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Reads the files. Raises `ConfigError`."""
        return grpc.ssl_server_certificate_configuration([_read_own(self._own)], _read_authorities(self._authorities))

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns the files' new content; None when unchanged or unusable, so that gRPC keeps the last valid one."""
        stamps = self._stat()
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        try:
            configuration = self.read()
        except ConfigError as error:
            event(_LOG, logging.WARNING, "tls.kept", reason=str(error))
            return None
        event(_LOG, logging.INFO, "tls.renewed")
        return configuration

    def _stat(self) -> tuple[tuple[int, int, int] | None, ...]:
        paths = (*self._own, *filter(None, [self._authorities]))
        return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Returns inode, modification time (ns) and size (bytes) of a file; None when it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
