"""Files of an installation's secrets: made once in a folder that kustomize reads, never overwritten."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import yaml

from cli.kubernetes import certificates
from cli.kubernetes.certificates import SignedCertificate
from cli.stack import database
from cli.stack.keys import Keys, load_or_create, write_identities, write_private

#: Services, and the names of the Kubernetes Services through which others call them by gRPC.
SERVICES = {"gateway": (), "job": ("job", "job-workers"), "generator": (), "uploader": (), "notifier": ("notifier",)}
#: Folder with what a person needs to call services by gRPC; no pod reads it.
OPERATOR = "operator"
#: Names through which services and the other servers of the cluster reach a NATS server.
BROKER_NAMES = ("nats", "nats-0.nats-peers", "nats-1.nats-peers", "nats-2.nats-peers")
#: Where pods find the authorities of the database's certificate.
DATABASE_CA = "/run/secrets/database/ca.crt"
#: Names through which `kubectl port-forward` reaches a pod.
_FORWARDED = ("localhost", "127.0.0.1")
_KUSTOMIZATION = """\
# Made by `calotype k8s init`. For keys of providers, put each into a file below, and add:
#   - {{name: calotype-providers, files: [providers/NAME]}}
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
generatorOptions:
  # Manifests name them; services read changed keys and identities without a restart.
  disableNameSuffixHash: true
  labels: {{app.kubernetes.io/part-of: calotype}}
secretGenerator:
{secrets}
"""
_ROLES = """\
-- Run it once as a superuser of PostgreSQL: psql -f database.sql
CREATE ROLE {job} LOGIN PASSWORD '{job_password}';
CREATE ROLE {notifier} LOGIN PASSWORD '{notifier_password}';
CREATE DATABASE {database} OWNER {job};
\\c {database}
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO {job};
GRANT CONNECT ON DATABASE {database} TO {notifier};
CREATE SCHEMA notifier AUTHORIZATION {notifier};
ALTER ROLE {notifier} IN DATABASE {database} SET search_path = notifier;
"""


@dataclass(frozen=True, kw_only=True)
class DatabaseServer:
    """Where the installation's PostgreSQL is."""

    #: Host, or host:port; or several of one cluster with commas between them.
    address: str
    #: `sslmode` of libpq: `verify-full`, `require` or `disable`.
    sslmode: str
    #: Authorities of its certificate as PEM; None: they are not checked.
    authorities: str | None = None

    def url(self, role: str, password: str) -> str:
        """Returns the URL with which a service connects."""
        checked = f"&sslrootcert={quote(DATABASE_CA, safe='')}" if self.authorities is not None else ""
        return f"postgresql://{role}:{password}@{self.address}/{database.NAME}?sslmode={self.sslmode}{checked}"


@dataclass(kw_only=True)
class SecretFiles:
    """Writes the files of a folder, and records what it made and what it kept."""

    #: The folder, which only its owner may enter.
    folder: Path
    #: Paths of the files that were made, relative to the folder.
    made: list[str] = field(default_factory=list)
    #: Paths of the files that were there, relative to the folder.
    kept: list[str] = field(default_factory=list)
    #: Paths of files for secrets that a kustomization.yaml which was there does not name, with their secrets' names.
    unlisted: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, text: str) -> None:
        """Writes a file with mode 0600 unless it is there."""
        if self.has(name):
            return
        path = self.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(path, text)

    def has(self, name: str) -> bool:
        """Returns whether the file is there, and records it as kept, or else as one that is made now."""
        is_there = (self.folder / name).exists()
        (self.kept if is_there else self.made).append(name)
        return is_there

    def has_pair(self, certificate: str, key: str) -> bool:
        """Returns whether a certificate and its key are there, and records them as kept if so.

        Raises `ValueError` if one of them is.
        """
        present = [name for name in (certificate, key) if (self.folder / name).exists()]
        if len(present) == 1:
            raise ValueError(f"{present[0]} is there without the other of {certificate} and {key}: delete it")
        self.kept += present
        return bool(present)

    def read(self, name: str) -> str:
        """Returns the content of a file."""
        return (self.folder / name).read_text(encoding="utf-8")


def write_secrets(files: SecretFiles, *, namespace: str, server: DatabaseServer) -> datetime:
    """Makes every file that is missing, and returns when the first certificate ends.

    Raises `OSError`, and `ValueError` for a file of an authority that cannot be read.
    """
    for name in ("keys.json", "keys.yaml"):
        files.has(name)
    keys, _ = load_or_create(files.folder)
    if not files.has("identities.yaml"):
        write_identities(files.folder, keys)
    for service, token in keys.service_tokens.items():
        files.put(f"{service}/token", token)
    files.put(f"{OPERATOR}/token", keys.grpc_token)
    for user, password in keys.nats_passwords.items():
        if user != "monitor":
            files.put(f"nats/{user}", password)
    _write_database(files, keys, server)
    ends = _write_certificates(files, namespace)
    files.put(".gitignore", "*\n")
    secrets = _secrets(files)
    files.put("kustomization.yaml", _kustomization(secrets, namespace))
    listed = set(re.findall(r"[\w./-]+", files.read("kustomization.yaml")))
    files.unlisted |= {path: name for name, paths in secrets.items() for path in paths if path not in listed}
    return ends


def _write_database(files: SecretFiles, keys: Keys, server: DatabaseServer) -> None:
    passwords = keys.database_passwords
    for service, folder in (("job", "database"), ("notifier", "notifier-database")):
        files.put(f"{folder}/url", server.url(database.ROLES[service], passwords[service]))
        if server.authorities is not None:
            files.put(f"{folder}/ca.crt", server.authorities)
    roles = _ROLES.format(
        job=database.ROLES["job"],
        notifier=database.ROLES["notifier"],
        job_password=passwords["job"],
        notifier_password=passwords["notifier"],
        database=database.NAME,
    )
    files.put("database.sql", roles)


def _write_certificates(files: SecretFiles, namespace: str) -> datetime:
    """Returns when the first certificate ends."""
    # Each authority signs nothing else: every certificate of one may call services, every one of the other may join
    # the broker's cluster.
    grpc, broker = _authority(files, "grpc"), _authority(files, "broker")
    ends = [
        _write_certificate(files, grpc, f"{service}-tls", (service, *_reached(names, namespace)))
        for service, names in SERVICES.items()
    ]
    ends.append(_write_certificate(files, grpc, OPERATOR, (OPERATOR,)))
    ends.append(_write_certificate(files, broker, "nats-tls", _reached(BROKER_NAMES, namespace)))
    return min(ends)


def _reached(names: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    return (*names, *(f"{name}.{namespace}.svc" for name in names), *_FORWARDED)


def _authority(files: SecretFiles, name: str) -> SignedCertificate:
    certificate, key = f"authorities/{name}.crt", f"authorities/{name}.key"
    if not files.has_pair(certificate, key):
        made = certificates.new_authority(f"calotype {name}")
        files.put(key, made.key)
        files.put(certificate, made.certificate)
    return SignedCertificate(certificate=files.read(certificate), key=files.read(key))


def _write_certificate(
    files: SecretFiles, authority: SignedCertificate, folder: str, names: tuple[str, ...]
) -> datetime:
    certificate, key = f"{folder}/tls.crt", f"{folder}/tls.key"
    if not files.has_pair(certificate, key):
        made = certificates.issue(authority, names[0], list(dict.fromkeys(names)))
        files.put(key, made.key)
        files.put(certificate, made.certificate)
    files.put(f"{folder}/ca.crt", authority.certificate)
    return certificates.end_of(files.read(certificate))


def _secrets(files: SecretFiles) -> dict[str, list[str]]:
    """Returns paths of files by secret: one of each subfolder, and one each of the keys and the identities."""
    secrets = {"calotype-keys": ["keys.yaml"], "calotype-identities": ["identities.yaml"]}
    for name in sorted({*files.made, *files.kept}):
        folder, _, file = name.partition("/")
        if file and folder not in ("authorities", OPERATOR):
            secrets.setdefault(f"calotype-{folder}", []).append(name)
    return secrets


def _kustomization(secrets: Mapping[str, list[str]], namespace: str) -> str:
    """Returns the file of which kubectl makes the secrets."""
    entries = [{"name": name, "type": "Opaque", "files": paths} for name, paths in secrets.items()]
    written = yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, width=1000)
    return _KUSTOMIZATION.format(namespace=namespace, secrets="".join(f"  {line}\n" for line in written.splitlines()))
