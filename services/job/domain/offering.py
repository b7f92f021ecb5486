"""What generators offer together, where their provider files differ: one file is being replaced by another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.job.domain.providers import Capabilities, Model, OptionRules, Provider

#: A generator registers every 30 seconds. One that has not for three times as long is gone.
LIVE_SECONDS = 90.0
#: For so long what was offered last is offered on while there is no generator at all: as long as a job waits for one.
OUTAGE_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One provider as one worker offers it."""

    worker: str
    provider: Provider
    started_at: datetime
    registered_at: datetime


def merge(live: Sequence[Registration]) -> list[Registration]:
    """Each provider once, as the worker that started last describes it, within the limits of all who have it.

    Both files are in use, so the stricter limit holds until the other is gone. The default is the newest worker's that
    names one.
    """
    newest_first = sorted(live, key=lambda one: (one.started_at, one.worker, one.provider.name), reverse=True)
    default = next((one.provider.name for one in newest_first if one.provider.is_default), None)
    by_name: dict[str, list[Registration]] = {}
    for one in newest_first:
        by_name.setdefault(one.provider.name, []).append(one)
    return [
        replace(
            max(told, key=lambda one: one.registered_at),
            provider=_within(told[0].provider, [one.provider for one in told], is_default=name == default),
        )
        for name, told in sorted(by_name.items())
    ]


def _within(newest: Provider, every: Sequence[Provider], *, is_default: bool) -> Provider:
    return replace(
        newest,
        is_default=is_default,
        max_concurrency=_strictest([one.max_concurrency for one in every]),
        requests_per_minute=_strictest([one.requests_per_minute for one in every]),
        capabilities=_honoured_by_all(newest.capabilities, [one.capabilities for one in every]),
        option_rules=_allowed_by_all(newest.option_rules, [one.option_rules for one in every]),
        models=tuple(_model(model, newest, every) for model in newest.models),
        # For so long a call of one of them may be at the provider.
        timeout_seconds=max(one.timeout_seconds for one in every),
    )


def _model(model: Model, newest: Provider, every: Sequence[Provider]) -> Model:
    if model.price_micros_per_image is not None:
        # A worker may still ask for it as its own file says: no budget is exceeded by that.
        told = [one.price_micros_per_image or 0 for each in every for one in each.models if one.name == model.name]
        model = replace(model, price_micros_per_image=max(told))
    as_it = [one.as_model(model.name) for one in every]
    if as_it == list(every):
        return model
    able = _honoured_by_all(newest.as_model(model.name).capabilities, [one.capabilities for one in as_it])
    return replace(model, capabilities=able)


def _honoured_by_all(newest: Capabilities, every: Sequence[Capabilities]) -> Capabilities:
    """What is offered of the options that a worker of an earlier version, or file, would drop without a word.

    Free is what costs nothing at any of the workers, as each may get the job.
    """

    def by_all(name: str) -> tuple[str, ...]:
        return tuple(one for one in getattr(newest, name) if all(one in getattr(able, name) for able in every))

    return replace(
        newest,
        free=all(able.free for able in every),
        backgrounds=by_all("backgrounds"),
        output_compression=all(able.output_compression for able in every),
        moderations=by_all("moderations"),
        input_fidelities=by_all("input_fidelities"),
    )


def _allowed_by_all(newest: OptionRules | None, every: Sequence[OptionRules | None]) -> OptionRules | None:
    """The newest rules, but for options that a worker would refuse."""
    told = [{rule.path for rule in one.rules} for one in every if one is not None and not one.any]
    if newest is None or newest.any:
        return newest
    return OptionRules(rules=tuple(rule for rule in newest.rules if all(rule.path in paths for paths in told)))


def _strictest(limits: Sequence[int]) -> int:
    return min((limit for limit in limits if limit), default=0)
