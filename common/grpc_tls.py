"""TLS for gRPC: three files, checked at the start; a server takes new ones as soon as they lie there."""

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
    """Files in PEM form: the process's own certificate with its key, and the authorities of the other side."""

    #: The process's own certificate, in PEM form; needs CALOTYPE_GRPC_TLS_KEY_FILE.
    grpc_tls_cert_file: Path | None = None
    #: Private key of CALOTYPE_GRPC_TLS_CERT_FILE, in PEM form.
    grpc_tls_key_file: Path | None = None
    #: Authorities in PEM form. A server requires client certificates that they signed; a client trusts them alone.
    grpc_tls_ca_file: Path | None = None


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """What a server shows; with authorities it asks each client for a certificate. None without files.

    Raises `ConfigError`.
    """
    own = _own(settings)
    if own is None:
        if settings.grpc_tls_ca_file is not None:
            raise ConfigError(f"{_CA} needs {_CERT} and {_KEY}: a server without a certificate cannot ask for others'.")
        return None
    files, asks_clients = _Files(own, settings.grpc_tls_ca_file), settings.grpc_tls_ca_file is not None
    # The stubs do not know that a fetcher may say None for "as before".
    return grpc.dynamic_ssl_server_credentials(files.read(), files.renewed, asks_clients)  # type: ignore[arg-type]


def channel_credentials(settings: TlsSettings) -> grpc.ChannelCredentials | None:
    """What a client shows, and whom it believes: the authorities, or else those of the system. None without files.

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
        there, missing = (_CERT, _KEY) if key is None else (_KEY, _CERT)
        raise ConfigError(f"{there} is set and {missing} is not; a certificate and its key are needed together.")
    return None


def _read_own(own: tuple[Path, Path]) -> tuple[bytes, bytes]:
    """Key and certificate, as gRPC takes them. Raises `ConfigError` unless they fit together."""
    certificate, key = own
    found = _content(key), _content(certificate)
    try:
        # An empty password: a key that needs one is refused, instead of asking for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ConfigError(f"{_CERT} and {_KEY}: {certificate} and {key} are no certificate with its key.") from error
    return found


def _read_authorities(path: Path | None) -> bytes | None:
    """Raises `ConfigError`."""
    if path is None:
        return None
    found = _content(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{_CA}: {path} holds no certificate.") from error
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The TLS file {path} cannot be read.") from error


class _Files:
    """A server's files; asked at every handshake, on a thread of gRPC's."""

    def __init__(self, own: tuple[Path, Path], authorities: Path | None) -> None:
        self._own = own
        self._authorities = authorities
        self._stamp = self._look()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What lies there now. Raises `ConfigError`."""
        return grpc.ssl_server_certificate_configuration([_read_own(self._own)], _read_authorities(self._authorities))

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """New content that fits together; None as long as there is none, so that the last good one stays."""
        stamp = self._look()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            found = self.read()
        except ConfigError as error:
            event(_LOG, logging.WARNING, "tls.kept", because=str(error))
            return None
        event(_LOG, logging.INFO, "tls.renewed")
        return found

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        paths = (*self._own, *filter(None, [self._authorities]))
        return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
