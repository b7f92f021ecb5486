"""How a command says no: one clear line and an exit code."""

import enum

import click


class ExitCode(enum.IntEnum):
    """What a command's end means to scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_REACHABLE = 3
    REFUSED = 4
    INTERRUPTED = 130


class CommandFailed(click.ClickException):
    """A command cannot do what was asked; the message is one line that says what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
