"""`calotype k8s`: makes the secrets of an installation on Kubernetes."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.errors import CommandFailed, ExitCode

if TYPE_CHECKING:
    from cli.kubernetes.secret_files import SecretFiles

_SERVER = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
#: A server, or several with commas between them.
DATABASE_ADDRESS = re.compile(rf"{_SERVER}(,{_SERVER})*")
NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@click.group()
def k8s() -> None:
    """Prepare an installation on Kubernetes."""


@k8s.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="k8s-secrets")
@click.option("--namespace", default="calotype", show_default=True, help="Namespace of the overlay.")
@click.option(
    "--database",
    default="postgres",
    show_default=True,
    metavar="HOST[:PORT]",
    help="The PostgreSQL server; or several of one cluster, with commas between them.",
)
@click.option(
    "--database-ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="PEM file with the authorities of the server's certificate; services then check it.",
)
@click.option("--database-without-tls", is_flag=True, help="For a server in the cluster that has no TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print the names of the files as JSON.")
def init(
    folder: Path, namespace: str, database: str, database_ca: Path | None, database_without_tls: bool, as_json: bool
) -> int:
    """Make the secrets of an installation as files in FOLDER.

    They are API keys, identities and certificates for gRPC, passwords of the database and of NATS, and its certificate.
    kubectl makes Kubernetes secrets of them: kubectl apply -k FOLDER. A file that is there is never overwritten, so
    that the command can be repeated; delete a file to replace it.
    """
    # Here, not above: other commands need none of the stack's libraries.
    from cli.kubernetes.secret_files import DatabaseServer, SecretFiles, write_secrets
    from cli.stack.private_folder import make_private

    _check(namespace, database)
    if database_ca is not None and database_without_tls:
        raise CommandFailed("--database-ca and --database-without-tls exclude each other.", ExitCode.USAGE)
    if not (folder / "keys.json").exists() and (folder / "identities.yaml").exists():
        message = f"{folder} has secrets, but not keys.json, from which they were made; choose another folder."
        raise CommandFailed(message, ExitCode.USAGE)
    checked = "verify-full" if database_ca is not None else "require"
    files = SecretFiles(folder=folder)
    try:
        server = DatabaseServer(
            address=database,
            sslmode="disable" if database_without_tls else checked,
            authorities=None if database_ca is None else database_ca.read_text(encoding="ascii"),
        )
        make_private(folder, lambda message: click.echo(message, err=True))
        end = write_secrets(files, namespace=namespace, server=server)
    except (OSError, ValueError) as error:
        raise CommandFailed(f"The secrets in {folder} could not be made: {error}.") from error
    if as_json:
        shown = {"folder": str(folder), "made": files.made, "kept": files.kept, "unlisted": files.unlisted}
        click.echo(json.dumps({**shown, "certificate_ends": end.isoformat()}))
        return ExitCode.DONE
    _report(files, end)
    click.echo(_next_steps(folder, namespace), err=True)
    return ExitCode.DONE


def _check(namespace: str, database: str) -> None:
    """Raises `CommandFailed` for what cannot be written into the files as it is."""
    if not NAMESPACE.fullmatch(namespace):
        raise CommandFailed("--namespace must be 1 to 63 small letters, digits or -.", ExitCode.USAGE)
    if not DATABASE_ADDRESS.fullmatch(database):
        raise CommandFailed("--database must be HOST or HOST:PORT, or several with commas.", ExitCode.USAGE)


def _report(files: "SecretFiles", end: datetime) -> None:
    for name in files.made:
        click.echo(f"made {files.folder / name}")
    if files.kept:
        click.echo(f"kept {len(files.kept)} files that were there")
    for path, secret in files.unlisted.items():
        click.echo(f"{files.folder / 'kustomization.yaml'} was kept and has no {path}: add it to the files of {secret}")
    click.echo(f"the first certificate ends on {end:%Y-%m-%d}")


def _next_steps(folder: Path, namespace: str) -> str:
    return f"""
Next:
  1. Create the database's roles as a superuser:  psql -f {folder}/database.sql
  2. Keys of providers, if any: one file for each, as the head of {folder}/kustomization.yaml says.
  3. kubectl create namespace {namespace}
     kubectl apply -k {folder}
  4. Fill in settings.env and providers.yaml of the overlay, then:
     kubectl apply -k deploy/k8s/overlays/production
The API keys are api_key and operator_key in {folder}/keys.json. Keep the folder where your other secrets are: with it,
a repeated command adds what a later version needs. To replace a certificate before it ends, delete its tls.crt and
tls.key, repeat the command, apply the folder again, and restart: NATS for its certificate, otherwise the service."""
