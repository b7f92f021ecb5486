"""The address of traces is checked before it is shown to anybody."""

import pytest

from common.config import ConfigError
from common.telemetry import trace_links


@pytest.mark.parametrize(
    "template",
    ["", "{trace_id}", "ftp://a/{trace_id}", "https://a/", "javascript:{trace_id}", "http://u:p@a/{trace_id}"],
)
def test_an_address_that_is_none_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match="CALOTYPE_TRACE_URL"):
        trace_links.checked(template)


def test_an_unset_address_is_none() -> None:
    assert trace_links.checked(None) is None
    assert trace_links.link(None, "ab") is None
