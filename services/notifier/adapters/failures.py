"""Failures of an attempt: the class, and one sentence for people, of whatever a receiver, name server or proxy does."""

import os
import ssl
from collections.abc import Iterator

import httpcore

from common.network.guarded_connect import ForbiddenAddress, UnresolvedName
from services.notifier.adapters.text import one_line
from services.notifier.adapters.watched_connection import EnoughReceived
from services.notifier.domain.attempts import AttemptError

#: Characters of a message.
MAX_MESSAGE = 500
#: Errors that a receiver, a name server or a proxy can bring about. `OSError` includes those of `ssl`.
CAUSED_BY_OTHERS = (
    ForbiddenAddress,
    UnresolvedName,
    EnoughReceived,
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    OSError,
)
#: Beginnings of messages of h11 and httpcore about connections that ended early.
_ENDED_EARLY = ("Server disconnected", "peer closed", "peer unexpectedly closed")
_WHAT_FAILED = {
    AttemptError.DNS: "The name of the receiver's host cannot be resolved",
    AttemptError.CONNECT: "No connection to the receiver could be made",
    AttemptError.TLS: "The TLS handshake with the receiver failed",
    AttemptError.PROXY: "The forward proxy failed",
}
_WHAT_WAS_LATE = {
    AttemptError.DNS: "The name of the receiver's host was not resolved in time.",
    AttemptError.CONNECT: "No connection to the receiver could be made in time.",
    AttemptError.TLS: "The TLS handshake with the receiver did not end in time.",
    AttemptError.TIMEOUT_HEADERS: "The receiver sent no response in time.",
    AttemptError.TIMEOUT_BODY: "The body of the receiver's response did not end in time.",
    AttemptError.PROXY: "The forward proxy did not respond in time.",
}


class AttemptFailed(Exception):
    """An attempt failed."""

    def __init__(self, error: AttemptError, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = one_line(message, MAX_MESSAGE)


def timed_out(step: AttemptError) -> AttemptFailed:
    """Returns the failure of an attempt whose time ended in a step."""
    return AttemptFailed(step, _WHAT_WAS_LATE[step])


def failure_of(error: Exception, step: AttemptError) -> AttemptFailed:
    """Returns the failure for an error of `CAUSED_BY_OTHERS` in a step."""
    if isinstance(error, ForbiddenAddress):
        return AttemptFailed(AttemptError.BLOCKED_ADDRESS, "The receiver's host has an address that is not allowed.")
    if isinstance(error, httpcore.TimeoutException):
        return timed_out(step)
    if step in _WHAT_FAILED:
        reason = _reason(error)
        return AttemptFailed(step, f"{_WHAT_FAILED[step]}: {reason}." if reason else f"{_WHAT_FAILED[step]}.")
    return AttemptFailed(AttemptError.PROTOCOL, _protocol_message(error))


def _protocol_message(error: Exception) -> str:
    if isinstance(error, EnoughReceived):
        return "The head of the receiver's response is too long."
    if isinstance(error, httpcore.ProtocolError) and not str(error).startswith(_ENDED_EARLY):
        return "The receiver's response is not HTTP/1.1."
    return "The receiver closed the connection before its response ended."


def _reason(error: Exception) -> str:
    """Returns the reason that OpenSSL or the operating system gives; empty for none. No name of a host is in it."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "hostname mismatch" if "mismatch" in cause.verify_message else cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return (cause.reason or "").replace("_", " ").lower()
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno).lower()
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what caused it; httpcore drops some causes, but has them as arguments, too."""
    found: list[BaseException] = [error]
    for cause in found:
        others = (*cause.args, cause.__cause__, cause.__context__)
        found += [other for other in others if isinstance(other, BaseException) and other not in found]
        yield cause
