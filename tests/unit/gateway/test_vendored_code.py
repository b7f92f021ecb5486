"""`gateway/web/static/vendor`: code of other projects, its licences and its digest."""

import json

from tests.support.pages import vendor
from tests.unit.docs.test_licences import ALLOWED


def test_the_bundle_is_the_one_that_was_made() -> None:
    text = (vendor.VENDOR / vendor.BUNDLE).read_text(encoding="utf-8")
    assert (vendor.VENDOR / vendor.DIGEST).read_text(encoding="utf-8") == vendor.digest(text), "run: make vendor"
    for name, (version, licence) in vendor.versions().items():
        assert f"{name} {version} ({licence})" in text.partition("\n")[0], "run: make vendor"


def test_licences_let_it_be_passed_on_and_are_included() -> None:
    texts = (vendor.VENDOR / vendor.LICENCES).read_text(encoding="utf-8")
    for name, (version, licence) in vendor.versions().items():
        assert licence in ALLOWED
        assert f"{name} {version}\n" in texts


def test_packages_are_pinned_and_the_lock_names_no_registry() -> None:
    wanted = json.loads((vendor.WEB / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    packages = json.loads((vendor.WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages[""]["devDependencies"] == wanted
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for path, package in packages.items():
        assert "resolved" not in package
        assert not path or package["integrity"].startswith("sha512-")
