"""Errors of requests that an adapter refuses before anything is sent."""

from calotype.error_reasons import Code, Reason

from services.generator.domain.provider_results import Acceptance, ProviderError


def option_refused(name: str, option: str, why: str) -> ProviderError:
    """Returns the error of an option that the adapter refuses; `why` is the cause, without a full stop."""
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.UNSUPPORTED,
        message=f"{name} does not accept the option {option}: {why}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )


def needs(name: str, model: str, what: str) -> ProviderError:
    """Returns the error of a request that lacks what a model needs; `what` completes "MODEL needs"."""
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.INVALID_INPUT,
        message=f"{model[:100]} of {name} needs {what}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
