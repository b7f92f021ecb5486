"""`docs/frontend`: the types are those of the document, and the example fits them."""

from pathlib import Path

import pytest

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
