"""When tenants lose their access: watches the ends of the keys of the keys file."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from common.logs import event
from common.telemetry import metrics, registry
from gateway.auth.keyring import Keyring

_LOG = logging.getLogger(__name__)
#: Seconds between two looks at the keys.
INTERVAL_SECONDS = 5.0
#: How long before a tenant loses its access the log says so.
NOTICE = timedelta(days=14)


class KeyExpiry:
    """Shows when the next tenant is left without a valid key, and logs each such tenant once in time."""

    def __init__(
        self, keyring: Callable[[], Keyring | None], *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._keyring = keyring
        self._clock = clock
        #: Ends that were logged, by tenant.
        self._logged: dict[str, datetime] = {}

    async def run_once(self) -> Mapping[str, int] | None:
        """Sets the gauge and logs what is new; returns None."""
        keyring = self._keyring()
        ends = {} if keyring is None else keyring.ends()
        now = self._clock()
        metrics.clear(registry.ACCESS_ENDS_IN_SECONDS)
        for role in {principal.role for principal in ends}:
            first = min(end for principal, end in ends.items() if principal.role == role)
            metrics.set_gauge(registry.ACCESS_ENDS_IN_SECONDS, (first - now).total_seconds(), role)
        near = {principal.tenant: end for principal, end in ends.items() if end - now <= NOTICE}
        for tenant, end in near.items():
            if self._logged.get(tenant) != end:
                event(_LOG, logging.WARNING, "keys.expiry_noticed", tenant=tenant, expires_at=end.isoformat())
        self._logged = near
        return None
