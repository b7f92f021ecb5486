"""Scripts of `gateway/web/static` fit their types and those of the API; the bundle is made from the lock file."""

from pathlib import Path

import pytest

from tests.support.pages import vendor
from tests.support.required_tools import need


@pytest.mark.slow
def test_scripts_fit_the_types_and_the_bundle_is_fresh(tmp_path: Path) -> None:
    need("npm", install="apt-get install nodejs npm")
    copy = vendor.checkout(tmp_path)

    vendor.run(copy, "npm", "exec", "--", "tsc", "--project", ".")
    kept = (vendor.VENDOR / vendor.BUNDLE).read_text(encoding="utf-8")
    assert kept == vendor.bundle(copy), "run: make vendor"
    assert (vendor.VENDOR / vendor.LICENCES).read_text(encoding="utf-8") == vendor.licences(copy), "run: make vendor"
