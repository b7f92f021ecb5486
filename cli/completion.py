"""`calotype completion`: prints the script by which a shell completes commands, options and values."""

import click
from click.shell_completion import get_completion_class

from cli.errors import ExitCode

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print a script that completes commands in SHELL.

    For bash and zsh put this into ~/.bashrc or ~/.zshrc: eval "$(calotype completion bash)". For fish: calotype
    completion fish > ~/.config/fish/completions/calotype.fish
    """
    script_of = get_completion_class(shell)
    assert script_of is not None, "one of click's own shells"
    click.echo(script_of(context.find_root().command, {}, "calotype", "_CALOTYPE_COMPLETE").source())
    return ExitCode.DONE
