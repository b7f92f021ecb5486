"""Scrapes metrics as Prometheus does, and reads them with its own parser."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """What one scrape told."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        self._samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a sample, or nothing."""
        found = [one.value for one in self._samples if one.name == name and one.labels == labels]
        assert len(found) <= 1, f"{name} {labels} is there {len(found)} times"
        return found[0] if found else None

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of all samples of that name."""
        return [dict(one.labels) for one in self._samples if one.name == name]


async def scrape(admin: httpx.AsyncClient) -> Scraped:
    """What the admin port tells now."""
    return Scraped(await admin.get("/metrics"))
