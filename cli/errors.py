"""How a command fails: one line of text and an exit code."""

import enum

import click


class ExitCode(enum.IntEnum):
    """Exit codes of all commands."""

    DONE = 0
    """The command did what it should."""
    FAILED = 1
    """It could not, or the job that it followed failed or was canceled."""
    USAGE = 2
    """Its arguments, environment or files are wrong; nothing was done."""
    NOT_REACHABLE = 3
    """The stack, the API or the database is not there."""
    REFUSED = 4
    """The API refused the call."""
    INTERRUPTED = 130
    """Ctrl-C, as shells have it: 128 and the number of SIGINT."""


class CommandFailed(click.ClickException):
    """A command cannot do what its user wants; the message says what to do, in one line or one for each mistake."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        #: The command's exit code.
        self.code = code
