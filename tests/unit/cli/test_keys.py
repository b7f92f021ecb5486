import hashlib
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.__main__ import main
from cli.errors import ExitCode
from gateway.auth.keys_file import KeysFile


def _new(*arguments: str) -> tuple[str, str]:
    """Key and line."""
    result = CliRunner().invoke(main, ["keys", "new", *arguments])
    assert result.exit_code == ExitCode.DONE, result.output
    key, line = result.stdout.splitlines()
    assert "once" in result.stderr
    return key, line


def test_a_key_is_fresh_and_of_256_random_bits() -> None:
    made = {_new("acme")[0] for _ in range(20)}
    assert len(made) == 20
    assert all(key.startswith("cal_") and len(key.removeprefix("cal_")) * 6 >= 256 for key in made)


@pytest.mark.parametrize("tenant", ["acme", "123", "1e5", "0x1f", "true", "null", "off", "2026-01-31", "_", "1_000"])
@pytest.mark.parametrize("role", ["tenant", "operator"])
def test_the_line_lets_the_key_in(tmp_path: Path, tenant: str, role: str) -> None:
    key, line = _new(tenant, "--role", role)
    file = tmp_path / "keys.yaml"
    file.write_text(f"tenants:\n{line}\n")
    caller = KeysFile(file).load().by_key(key)
    assert caller is not None
    assert (caller.tenant, caller.role) == (tenant, role)
    assert key not in line


def test_json_holds_the_same(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["keys", "new", "acme", "--json"])
    made = json.loads(result.output)
    assert made["sha256"] == hashlib.sha256(made["key"].encode()).hexdigest()
    assert yaml.safe_load(made["line"]) == [{"name": "acme", "role": "tenant", "key_sha256": [made["sha256"]]}]
    assert (made["tenant"], made["role"]) == ("acme", "tenant")


@pytest.mark.parametrize("tenant", ["", "a b", "a/b", "a\n", "ä", "a" * 65])
def test_a_name_that_no_keys_file_takes_is_refused(tenant: str) -> None:
    result = CliRunner().invoke(main, ["keys", "new", tenant])
    assert result.exit_code == ExitCode.USAGE
    assert "cal_" not in result.output
