"""`calotype providers check`: a file is read without a service, and what is wrong is named."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main
from tests.support.providers.scripted_http import ScriptedResponse, scripted_server

GOOD = """
default: gpt
providers:
  - {name: drawn, kind: procedural}
  - {name: gpt, kind: openai, api_key_env: A_KEY_THAT_IS_NOT_SET, default_model: gpt-image-2.6-sunburst}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A provider file."""
    written = tmp_path / "providers.yaml"
    written.write_text(GOOD, encoding="utf-8")
    return written


def check(*arguments: str) -> Result:
    """Check a file."""
    return CliRunner().invoke(main, ["providers", "check", *arguments])


def test_a_good_file_is_reported_entry_by_entry(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY_THAT_IS_NOT_SET", "sk-1234567890")

    result = check(str(file))

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "drawn: procedural, procedural",
        "gpt: openai, gpt-image-2.6-sunburst, the default",
    ]


@pytest.mark.parametrize("live", [(), ("--live",)])
@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("api_key_env: A_KEY_THAT_IS_NOT_SET", "A_KEY_THAT_IS_NOT_SET is not set"),
        ("api_key_file: /none/at/all", "cannot read api_key_file /none/at/all"),
        ("max_concurrency: 1", "api_key_env is not set"),
    ],
)
def test_a_key_that_is_missing_fails_the_check_as_it_would_the_start(
    file: Path, key: str, named: str, live: tuple[str, ...]
) -> None:
    file.write_text(GOOD.replace("api_key_env: A_KEY_THAT_IS_NOT_SET", key), encoding="utf-8")

    result = check(str(file), *live)

    assert result.exit_code == 2
    assert f"provider gpt: {named}" in result.stderr
    assert "drawn: procedural" in result.stdout


def test_a_model_that_is_not_there_fails_the_check_as_it_would_the_start(file: Path, tmp_path: Path) -> None:
    entry = "{name: local, kind: diffusers, settings: {path: " + str(tmp_path) + "}}"
    file.write_text(f"providers: [{entry}]", encoding="utf-8")

    result = check(str(file))

    assert result.exit_code == 2
    assert "provider local: " in result.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("kind: openai", "providers.1.kind"),
        ("default: gpt", "which is not among the providers"),
        ("default_model: gpt-image-2.6-sunburst", "name a model"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_its_place(
    file: Path, wrong: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {
        "kind: openai": "kind: opneai",
        "default: gpt": "default: gtp",
        "default_model: gpt-image-2.6-sunburst": "models: []",
    }
    file.write_text(GOOD.replace(wrong, changed[wrong]), encoding="utf-8")

    monkeypatch.setenv("A_KEY_THAT_IS_NOT_SET", "sk-1234567890")
    with pytest.raises(SystemExit) as ended:
        main(["providers", "check", str(file)])
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert f"{file}:" in line
    assert told in line


def test_every_mistake_of_a_file_has_a_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        GOOD.replace("kind: openai", "kind: opneai").replace("name: drawn", "nmae: drawn"), encoding="utf-8"
    )

    with pytest.raises(SystemExit) as ended:
        main(["providers", "check", str(file)])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert [f"{file}:" in line for line in lines] == [True, True]
    assert ["providers.0.nmae" in lines[0], "providers.1.kind" in lines[1]] == [True, True]


def test_a_mistake_has_line_and_column_and_what_was_meant(file: Path) -> None:
    file.write_text(GOOD.replace("default_model", "default_modell"), encoding="utf-8")

    result = check(str(file), "--json")

    [mistake] = json.loads(result.stdout)["mistakes"]
    column = GOOD.splitlines()[4].index("default_model") + 1
    assert result.exit_code == 2
    assert mistake.startswith(f"{file}:5:{column}: providers.1.default_modell: ")
    assert "did you mean default_model?" in mistake


@pytest.mark.parametrize("wrong", [{"name: drawn": "nmae: drawn"}, {"default: gpt": "default: gtp"}])
def test_a_mistake_in_the_file_hides_no_key_that_is_missing(file: Path, wrong: dict[str, str]) -> None:
    [(right, mistaken)] = wrong.items()
    file.write_text(GOOD.replace(right, mistaken), encoding="utf-8")

    result = check(str(file))
    mistakes = json.loads(check(str(file), "--json").stdout)

    assert result.exit_code == 2
    assert "gpt: openai, gpt-image-2.6-sunburst\n" in result.stdout
    assert "A_KEY_THAT_IS_NOT_SET is not set" in result.stderr
    assert f"{file}:" in result.stderr
    assert (len(mistakes["mistakes"]), mistakes["providers"][-1]["outcome"]) == (1, "unusable")


def test_a_check_can_be_read_by_programs(file: Path) -> None:
    result = check(str(file), "--json")

    drawn, gpt = json.loads(result.stdout)["providers"]
    assert (result.exit_code, drawn["outcome"], drawn["message"]) == (2, "usable", None)
    assert (gpt["name"], gpt["is_default"], gpt["outcome"]) == ("gpt", True, "unusable")
    assert "A_KEY_THAT_IS_NOT_SET is not set" in gpt["message"]


@pytest.mark.parametrize("live", [(), ("--live",)])
def test_a_key_in_place_of_its_variable_is_not_shown(file: Path, live: tuple[str, ...]) -> None:
    file.write_text(GOOD.replace("A_KEY_THAT_IS_NOT_SET", "sk-1234567890"), encoding="utf-8")

    result = check(str(file), *live)

    assert result.exit_code == 2
    assert "provider gpt: the value of api_key_env does not look like a variable name" in result.stderr
    assert "sk-" not in result.output


def test_a_listing_needs_a_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["providers", "--data", str(tmp_path / "none")])
    assert ended.value.code == 3
    assert "calotype up" in capsys.readouterr().err


def _status_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["providers", *arguments])
    return ended.value.code


async def test_a_live_check_tells_a_wrong_address_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEY_OF_GPT", "sk-1234567890")
    file = tmp_path / "providers.yaml"
    entry = {"name": "gpt", "kind": "openai", "api_key_env": "KEY_OF_GPT", "default_model": "m"}
    async with scripted_server() as vendor:
        vendor.expect("GET", "/models", ScriptedResponse(status=404, body=b"no such page"))
        file.write_text(json.dumps({"providers": [entry | {"base_url": vendor.url}]}), encoding="utf-8")
        status = await asyncio.to_thread(_status_of, "check", "--live", str(file))

    told = capsys.readouterr()
    assert status == 1
    assert "check that base_url is the API's address" in told.err
    assert "sk-1234567890" not in told.out + told.err
