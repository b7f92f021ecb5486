"""`calotype generate`: submits a job, follows it, prints and saves its images."""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import click

from cli.api.client import ConnectionOptions, GatewayApi, connection_options
from cli.api.generate_options import job_options
from cli.api.image_formats import output_format
from cli.api.progress import follow, report_end
from cli.api.saving import check_folder, save
from cli.errors import CommandFailed, ExitCode


@click.command()
@click.argument("prompt")
@job_options
@click.option(
    "-o",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to save the image to; several are saved as FILE-1, FILE-2 and so on. Its suffix (.png, .jpg, .webp) is "
    "the format to ask for. Without -o nothing is saved.",
)
@click.option("--pay-again", is_flag=True, help="The same as --on-ambiguous retry.")
@click.option(
    "--idempotency-key",
    help="A command that is repeated with the same key joins the job of the first one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
@click.option("--no-wait", is_flag=True, help="Print the job's id and leave it running.")
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the job.")
@connection_options()
def generate(
    prompt: str,
    fields: dict[str, Any],
    output: Path | None,
    pay_again: bool,
    idempotency_key: str | None,
    as_json: bool,
    no_wait: bool,
    cancel_on_interrupt: bool,
    connection: ConnectionOptions,
) -> int:
    """Submit a job, show its progress, print its images' addresses.

    PROMPT - reads standard input. With -o the images are saved, too. `calotype providers --json` says what each
    provider supports; what it does not support is refused.
    """
    if output is not None:
        if no_wait:
            raise CommandFailed("-o needs the images: leave out --no-wait.", ExitCode.USAGE)
        check_folder(output)
    body = {"prompt": sys.stdin.read().strip() if prompt == "-" else prompt} | fields
    if pay_again:
        body["on_ambiguous"] = "retry"
    with connection.open() as api:
        if output is not None and (chosen := output_format(output, body, api.providers)):
            body["output_format"] = chosen
        # One key per command: a request that is sent again makes no second job.
        job = api.submit(body, idempotency_key=idempotency_key or f"cli-{uuid.uuid4()}")
        if no_wait:
            click.echo(json.dumps(job) if as_json else job["id"])
            return ExitCode.DONE
        job = _follow(api, job["id"], cancel_on_interrupt=cancel_on_interrupt)
        if as_json:
            click.echo(json.dumps(job))
        _deliver(api, job, output, quiet=as_json)
        return report_end(job)


def _follow(api: GatewayApi, job_id: str, *, cancel_on_interrupt: bool) -> dict[str, Any]:
    def cancel() -> None:
        api.act(job_id, "cancel")
        raise CommandFailed(f"canceled {job_id}", ExitCode.INTERRUPTED)

    return follow(api, job_id, on_interrupt=cancel if cancel_on_interrupt else None)


def _deliver(api: GatewayApi, job: dict[str, Any], output: Path | None, *, quiet: bool) -> None:
    """Prints the addresses of the job's images unless `quiet`, and saves the images to `output` unless that is None."""
    artifacts = job["artifacts"]
    for artifact in artifacts:
        if not quiet:
            click.echo(artifact["url"])
        if output is not None:
            save(api.download(artifact["url"]), output, artifact, several=len(artifacts) > 1)
