"""Merges what generators offer while their provider files differ, as during a rollout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.job.domain.providers import Capabilities, Model, OptionRules, Provider

#: Seconds without a registration after which a generator counts as gone: three times its interval of 30 seconds.
LIVE_SECONDS = 90.0
#: Seconds for which the last offer stays valid while no generator runs at all: as long as a job waits for one.
OUTAGE_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One provider as one worker offers it."""

    #: Name of the worker.
    worker: str
    #: The entry of the worker's provider file.
    provider: Provider
    #: Time at which the worker started.
    started_at: datetime
    #: Time of its last registration.
    registered_at: datetime


def merge(live: Sequence[Registration]) -> list[Registration]:
    """Returns each provider once, as the worker that started last describes it, by name.

    Limits are the strictest of all workers that offer the provider, as every file is still in use. The default
    provider is that of the newest worker that names one.
    """
    newest_first = sorted(live, key=lambda entry: (entry.started_at, entry.worker, entry.provider.name), reverse=True)
    default = next((entry.provider.name for entry in newest_first if entry.provider.is_default), None)
    by_name: dict[str, list[Registration]] = {}
    for entry in newest_first:
        by_name.setdefault(entry.provider.name, []).append(entry)
    return [
        replace(
            max(entries, key=lambda entry: entry.registered_at),
            provider=_merge(entries[0].provider, [entry.provider for entry in entries], is_default=name == default),
        )
        for name, entries in sorted(by_name.items())
    ]


def _merge(newest: Provider, versions: Sequence[Provider], *, is_default: bool) -> Provider:
    return replace(
        newest,
        is_default=is_default,
        max_concurrency=_strictest([version.max_concurrency for version in versions]),
        requests_per_minute=_strictest([version.requests_per_minute for version in versions]),
        capabilities=_supported_by_all(newest.capabilities, [version.capabilities for version in versions]),
        option_rules=_allowed_by_all(newest.option_rules, [version.option_rules for version in versions]),
        models=tuple(_model(model, newest, versions) for model in newest.models),
        # A call by any of the workers may take as long as its own file says.
        timeout_seconds=max(version.timeout_seconds for version in versions),
    )


def _model(model: Model, newest: Provider, versions: Sequence[Provider]) -> Model:
    if model.price_micros_per_image is not None:
        # A worker may still call it at its own file's price: the highest one exceeds no budget.
        prices = [
            other.price_micros_per_image or 0
            for version in versions
            for other in version.models
            if other.name == model.name
        ]
        model = replace(model, price_micros_per_image=max(prices))
    as_model = [version.as_model(model.name) for version in versions]
    if as_model == list(versions):
        return model
    able = _supported_by_all(newest.as_model(model.name).capabilities, [version.capabilities for version in as_model])
    return replace(model, capabilities=able)


def _supported_by_all(newest: Capabilities, versions: Sequence[Capabilities]) -> Capabilities:
    """Limits the options that a worker of an earlier version, or with another file, would silently drop.

    A provider counts as free only if it is free at every worker, as each may get the job.
    """

    def by_all(name: str) -> tuple[str, ...]:
        return tuple(value for value in getattr(newest, name) if all(value in getattr(able, name) for able in versions))

    return replace(
        newest,
        free=all(able.free for able in versions),
        backgrounds=by_all("backgrounds"),
        output_compression=all(able.output_compression for able in versions),
        moderations=by_all("moderations"),
        input_fidelities=by_all("input_fidelities"),
    )


def _allowed_by_all(newest: OptionRules | None, versions: Sequence[OptionRules | None]) -> OptionRules | None:
    """Returns the newest rules without options that another worker would refuse."""
    allowed = [{rule.path for rule in rules.rules} for rules in versions if rules is not None and not rules.any]
    if newest is None or newest.any:
        return newest
    return OptionRules(rules=tuple(rule for rule in newest.rules if all(rule.path in paths for paths in allowed)))


def _strictest(limits: Sequence[int]) -> int:
    return min((limit for limit in limits if limit), default=0)
