"""What a system takes over from this machine: how the network, and the packages in it, are reached."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: As a container has it, with nothing of the person who starts it.
PLAIN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb"}
#: Files with certificates are named by these; inside, they all name the system's own place.
BUNDLES = (
    "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_CAFILE",
)  # fmt: skip
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
#: The files of pip's configuration are others inside.
CARRIED = re.compile(r"(?i)(https?|all|no|ftp)_proxy|PIP_(?!CONFIG_FILE)\w+|npm_config_registry")
FILES = ("/etc/resolv.conf", "/etc/hosts", BUNDLE)
#: Of pip's settings: those that say where packages are and how they are reached.
PIP = ("cert", "client-cert", "constraint", "extra-index-url", "find-links", "index-url", "no-index", "proxy",
       "retries", "timeout", "default-timeout", "trusted-host")  # fmt: skip


def environment(host: Mapping[str, str]) -> dict[str, str]:
    """The environment of commands inside."""
    carried = {name: value for name, value in host.items() if CARRIED.fullmatch(name) and name.upper() not in BUNDLES}
    return PLAIN | carried | {name: BUNDLE for name in host if name.upper() in BUNDLES}


def pip_settings() -> dict[str, str]:
    """What pip was told in its files, by the whole name: `global.index-url`; nothing where there is no pip."""
    asked = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    return read_settings(done.stdout) if done.returncode == 0 else {}


def read_settings(listed: str) -> dict[str, str]:
    """What `pip config list` tells; what it found in the environment is left out."""
    pairs = (line.partition("=") for line in listed.splitlines())
    return {
        name: str(ast.literal_eval(value))
        for name, _, value in pairs
        if not name.startswith(":env:") and name.rpartition(".")[2] in PIP
    }


def local_paths(settings: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """Files and folders of this machine that pip is told of: packages, indexes, constraints."""
    told = [(name.rpartition(".")[2], value) for name, value in settings.items()]
    told += [(name[4:].lower().replace("_", "-"), value) for name, value in environ.items() if name.startswith("PIP_")]
    paths = {
        _folder(option, Path(os.path.normpath(word.removeprefix("file://"))))
        for option, value in told
        for word in value.split()
        if option in PIP and option != "cert" and word.startswith(("/", "file:///"))
    }
    return sorted(str(path) for path in paths - {Path("/"), Path(BUNDLE)} if path.exists())


def _folder(option: str, path: Path) -> Path:
    """What has to be seen for a path to be of use: the pages of an index lead to files beside it."""
    return path.parent if option.endswith("index-url") else path


def carry(system: Path, settings: Mapping[str, str], host: Mapping[str, str]) -> None:
    """Write into a system what does not come by its environment."""
    for name in FILES:
        source = Path(name)
        if name == BUNDLE:
            source = next((Path(host[one]) for one in BUNDLES if Path(host.get(one, "")).is_file()), source)
        if source.is_file():
            # A link there would lead to a file of this machine.
            (system / name[1:]).unlink(missing_ok=True)
            shutil.copyfile(source, system / name[1:])
    (system / "etc/pip.conf").write_text(_pip_file(settings), encoding="utf-8")


def _pip_file(settings: Mapping[str, str]) -> str:
    sections: dict[str, list[str]] = {}
    for name, value in settings.items():
        section, _, option = name.rpartition(".")
        told = BUNDLE if option == "cert" else value.strip().replace("\n", "\n    ")
        sections.setdefault(section, []).append(f"{option} = {told}\n")
    return "".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())
