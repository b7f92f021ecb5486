"""What is shipped has a licence that lets it be passed on, and the page says which."""

import pytest

from tests.support.pages import licences

#: That a product of any licence may be passed on with. Of the last two, the packages themselves stay under them.
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib"),
    *("LGPL-3.0-or-later", "MPL-2.0"),
}


def test_the_page_lists_each_package_with_the_licence_of_its_metadata() -> None:
    assert licences.page() == licences.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("package", licences.shipped())
def test_a_package_has_a_licence_that_lets_it_be_passed_on(package: str) -> None:
    assert licences.names_of(licences.licence_of(package)) <= ALLOWED


def test_a_licence_that_is_not_known_is_noticed() -> None:
    assert licences.names_of("MIT AND (GPL-3.0-only OR Apache-2.0)") - ALLOWED == {"GPL-3.0-only"}
