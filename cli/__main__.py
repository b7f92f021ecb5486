"""The `calotype` command: its subcommands, and the exit code of each."""

import importlib
import sys
from typing import Any

import calotype
import click

from cli.errors import CommandFailed, ExitCode

#: Module and function of each command. Loaded when it is run: a client command needs no database driver.
COMMANDS = {
    "up": "cli.stack.commands:up",
    "down": "cli.stack.commands:down",
    "status": "cli.stack.commands:status",
    "migrate": "cli.stack.commands:migrate",
    "reconcile": "cli.reconcile:reconcile",
    "logs": "cli.logs:logs",
    "log-level": "cli.operations.commands:log_level",
    "drain": "cli.operations.commands:drain",
    "doctor": "cli.doctor.command:doctor",
    "demo": "cli.demo:demo",
    "generate": "cli.api.generate:generate",
    "jobs": "cli.api.jobs:jobs",
    "providers": "cli.api.providers:providers",
    "webhooks": "cli.api.webhooks:webhooks",
    "admin": "cli.api.admin:admin",
    "trace": "cli.api.trace:trace",
    "dead": "cli.api.dead:dead",
    "keys": "cli.keys:keys",
    "k8s": "cli.kubernetes.commands:k8s",
    "completion": "cli.completion:completion",
}


class Commands(click.Group):
    """A group that loads a command when it is used, and reports errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns all names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that is named. Raises `NoSuchCommand` that suggests similar names."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # The library looks for similar names among commands that are loaded, of which there are none.
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a command and ends the process with its exit code (`ExitCode`)."""
        try:
            result = super().main(*args, **kwargs | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(ExitCode.USAGE)
        except CommandFailed as error:
            click.echo(f"calotype: {error.message}", err=True)
            sys.exit(error.code)
        except click.ClickException as error:
            click.echo(f"calotype: {error.format_message()}", err=True)
            sys.exit(ExitCode.USAGE)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(ExitCode.INTERRUPTED)
        sys.exit(result if isinstance(result, int) else ExitCode.DONE)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(calotype.__version__, message="calotype %(version)s")
def main() -> None:
    """Image-generation jobs that are paid for once and never lost."""


if __name__ == "__main__":
    main(prog_name="calotype")
