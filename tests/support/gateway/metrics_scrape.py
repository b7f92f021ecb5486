"""Scrapes metrics as Prometheus does, and reads them with its own parser."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """The metrics of one scrape."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200, response.text
        self._samples = [
            sample for family in text_string_to_metric_families(response.text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a sample, or nothing."""
        values = [sample.value for sample in self._samples if sample.name == name and sample.labels == labels]
        assert len(values) <= 1, f"{name} {labels} is there {len(values)} times"
        return values[0] if values else None

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of all samples of that name."""
        return [dict(sample.labels) for sample in self._samples if sample.name == name]


async def scrape(admin: httpx.AsyncClient) -> Scraped:
    """Returns the metrics of the admin port as they are now."""
    return Scraped(await admin.get("/metrics"))
