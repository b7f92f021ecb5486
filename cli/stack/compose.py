"""Prepares what the containers of `compose.yaml` need: run as `python -P -m cli.stack.compose secrets` or `database`.

`secrets` makes a file for each credential in a folder, once; `database` makes roles, schemas and tables.
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from calotype.broker_users import MONITOR, USERS

from cli.stack import database, storage
from cli.stack.child import ChildError
from cli.stack.keys import Keys, load_or_create, write_identities, write_private
from cli.stack.nats_accounts import accounts
from cli.stack.object_store.access import Access, digest

#: User of the image's processes.
USER = 65_532
#: Public and private bucket, as `compose.yaml` names them.
BUCKET, STAGING_BUCKET = "calotype-public", "calotype-staging"
_SUPERUSER = "postgres_password"
_BROKER = """\
listen: "0.0.0.0:4222"
jetstream {{
  store_dir: "/data"
  sync_interval: always
  max_file_store: 8GB
}}
{accounts}
"""


def main() -> int:
    """Runs one of the two commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cli.stack.compose", description=__doc__)
    parser.add_argument("command", choices=("secrets", "database"))
    parser.add_argument("--folder", required=True, type=Path, help="folder of all secrets")
    arguments = parser.parse_args()
    if arguments.command == "secrets":
        keys = write_secrets(arguments.folder)
        print(f"export CALOTYPE_API_KEY={keys.api_key}")
        return 0
    try:
        prepare_database(arguments.folder)
    except ChildError as error:
        print(f"calotype: {error}", file=sys.stderr)
        return 1
    return 0


def write_secrets(folder: Path) -> Keys:
    """Writes every file that `compose.yaml` mounts, and returns the credentials; existing credentials stay.

    As root, the files belong to the image's user, since a container reads them as that user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys, _ = load_or_create(folder)
    write_identities(folder, keys)
    superuser = folder / _SUPERUSER
    if not superuser.exists():
        write_private(superuser, secrets.token_urlsafe(24))
    for name, text in _files(keys).items():
        write_private(folder / name, text)
    if os.geteuid() == 0:
        for file in folder.iterdir():
            os.chown(file, USER, USER)
    # PostgreSQL's image reads its password as a user of its own.
    superuser.chmod(0o444)
    return keys


def _files(keys: Keys) -> Mapping[str, str]:
    """Content of the files that follow from the credentials, by name."""
    urls = {
        f"{service}_database_url": f"postgresql://{role}:{keys.database_passwords[service]}@postgres/{database.NAME}"
        for service, role in database.ROLES.items()
    }
    passwords = {name: json.dumps(password) for name, password in keys.nats_passwords.items()}
    digests = {identity: digest(token) for identity, token in keys.storage_tokens.items()}
    access = Access(token_sha256=digests, buckets={BUCKET: storage.PUBLIC, STAGING_BUCKET: storage.STAGING})
    return {
        **urls,
        **{f"{service}_token": token for service, token in keys.service_tokens.items()},
        **{f"{service}_storage_token": token for service, token in keys.storage_tokens.items()},
        **{f"{user}_nats_password": password for user, password in keys.nats_passwords.items()},
        "nats.conf": _BROKER.format(accounts=accounts([*USERS, MONITOR], passwords)),
        "storage_access.json": access.as_json(),
    }


def prepare_database(folder: Path) -> None:
    """Makes roles, schemas and tables in the container `postgres`. Raises `ChildError`."""
    keys = Keys(**json.loads((folder / "keys.json").read_text(encoding="utf-8")))
    password = (folder / _SUPERUSER).read_text(encoding="utf-8")
    database.prepare(f"postgresql://postgres:{password}@postgres:5432/postgres", keys.database_passwords)


if __name__ == "__main__":
    sys.exit(main())
