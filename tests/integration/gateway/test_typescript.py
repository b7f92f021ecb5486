"""`docs/frontend`: the types are those of the document, and the example fits them; the script of `/docs` is typed."""

import shutil
from pathlib import Path

import pytest

from gateway.api_docs import html
from tests.support.pages import typescript
from tests.support.required_tools import need


@pytest.mark.slow
def test_types_are_fresh_and_the_example_fits_them(tmp_path: Path) -> None:
    need("npm", install="apt-get install nodejs npm")
    folder = tmp_path / "frontend"

    made = typescript.generated(folder)

    kept = (typescript.FOLDER / typescript.TYPES).read_text(encoding="utf-8")
    assert kept == made, "run: python -m tests.support.pages.typescript"
    typescript.run(folder, "npm", "exec", "--", "tsc", "--project", ".")

    script = shutil.copy(Path(html.__file__).with_name("try_it.js"), folder)
    options = ("--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022")
    libraries = ("--lib", "es2022,dom,dom.iterable,dom.asynciterable")
    typescript.run(folder, "npm", "exec", "--", "tsc", *options, *libraries, str(script))
