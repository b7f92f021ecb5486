"""The calls of the REST API about webhooks."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cli.api.client import GatewayApi
from cli.api.ids import check_delivery_id, webhook_id_of

#: In place of an endpoint's id: the callback URLs of jobs.
CALLBACKS = "callbacks"
#: In place of an endpoint's id: the secret of callback URLs.
SIGNING_SECRET = "signing-secret"  # noqa: S105 - part of a path


class WebhookCalls:
    """Calls about webhooks; every method raises what `GatewayApi` does.

    The beginning of a webhook's id stands for it, if it is the only one that begins like that.

    Those that create something take an idempotency key, and repeat a request whose response was lost.
    """

    def __init__(self, api: GatewayApi) -> None:
        self._api = api

    def page(self, **params: Any) -> dict[str, Any]:
        """Returns a page of endpoints, oldest first."""
        return self._api.send("GET", "/v1/webhooks", params=_without_none(params))

    def create(self, body: Mapping[str, Any], *, idempotency_key: str) -> dict[str, Any]:
        """Creates an endpoint; returns it with its secret."""
        headers = {"Idempotency-Key": idempotency_key}
        return self._api.send_again("POST", "/v1/webhooks", json=dict(body), headers=headers)

    def get(self, webhook_id: str) -> dict[str, Any]:
        """Returns an endpoint."""
        return self._api.send("GET", self._path(webhook_id))

    def change(self, webhook_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Changes fields of an endpoint; returns it."""
        return self._api.send("PATCH", self._path(webhook_id), json=dict(fields))

    def delete(self, webhook_id: str) -> str:
        """Deletes an endpoint; returns its id."""
        webhook_id = webhook_id_of(self._api, webhook_id)
        self._api.send("DELETE", self._path(webhook_id))
        return webhook_id

    def rotate(self, webhook_id: str, *, grace_seconds: int, idempotency_key: str) -> dict[str, Any]:
        """Returns a new secret, of an endpoint or for `SIGNING_SECRET`."""
        headers, body = {"Idempotency-Key": idempotency_key}, {"grace_seconds": grace_seconds}
        return self._api.send_again("POST", f"{self._path(webhook_id)}/rotate-secret", json=body, headers=headers)

    def signing_secret(self) -> dict[str, Any]:
        """Returns the secret of callback URLs."""
        return self._api.send("GET", self._path(SIGNING_SECRET))

    def test(self, webhook_id: str) -> dict[str, Any]:
        """Sends a test event; returns the attempt."""
        return self._api.send("POST", f"{self._path(webhook_id)}/test")

    def deliveries(self, webhook_id: str, **params: Any) -> dict[str, Any]:
        """Returns a page of deliveries, newest first."""
        return self._api.send("GET", f"{self._path(webhook_id)}/deliveries", params=_without_none(params))

    def redeliver(self, delivery_id: str) -> dict[str, Any]:
        """Sends a delivery again; returns it. The id must be whole."""
        check_delivery_id(delivery_id)
        return self._api.send("POST", f"/v1/webhooks/deliveries/{quote(delivery_id, safe='')}/redeliver")

    def redeliver_range(self, webhook_id: str, *, after: str, before: str | None) -> dict[str, Any]:
        """Sends the held and failed deliveries of a time range again; returns their count."""
        body = _without_none({"after": after, "before": before})
        return self._api.send("POST", f"{self._path(webhook_id)}/redeliver", json=body)

    def _path(self, webhook_id: str) -> str:
        return f"/v1/webhooks/{quote(webhook_id_of(self._api, webhook_id), safe='')}"


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
