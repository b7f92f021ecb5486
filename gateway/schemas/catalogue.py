"""What a frontend may look up: providers, and the states that it can show."""

from datetime import datetime
from typing import Literal

from gateway.schemas.jobs import Action, Code, ProviderCancel, Stage, Status, Tone
from gateway.schemas.wire import View


class CapabilitiesView(View):
    """What a provider can do; a request that goes beyond it is refused."""

    max_images_per_call: int
    sizes: list[str]
    aspect_ratios: list[str]
    min_side: int | None
    max_side: int | None
    side_multiple: int
    max_ratio: float | None
    """The longer side may be so many times the shorter one; null: any."""
    output_formats: list[str]
    qualities: list[str]
    backgrounds: list[str]
    output_compression: bool
    moderations: list[str]
    input_fidelities: list[str]
    seed: bool
    negative_prompt: bool
    max_input_images: int
    mask: bool
    resumable: bool
    cancelable: bool
    idempotent: bool
    free: bool
    max_prompt_characters: int | None


class ModelView(View):
    """One model of a provider."""

    name: str
    price_micros_per_image: int | None
    capabilities: CapabilitiesView | None
    """Null: those of its provider."""


class OutageView(View):
    """A model that gets no jobs for now, because its calls keep failing."""

    model: str
    code: Code
    reason: str
    since: datetime | None
    next_try_at: datetime | None


class HealthView(View):
    """How a provider does, by its calls of late; `down` means that its default model gets no jobs."""

    status: Literal["ok", "degraded", "down"]
    outages: list[OutageView]


class OptionRuleView(View):
    """Values that a job may give for one option in `provider_options`."""

    path: str
    """Its name; with dots, where objects are nested."""
    type: str
    """`integer`, `number`, `boolean`, `string` or `any`."""
    minimum: float | None
    maximum: float | None
    values: list[str]
    """Empty: any string."""
    max_characters: int | None


class ProviderView(View):
    """One provider that jobs may name."""

    name: str
    kind: str
    is_default: bool
    default_model: str
    models: list[ModelView]
    """Empty: the default model alone."""
    capabilities: CapabilitiesView
    max_concurrency: int | None
    requests_per_minute: int | None
    timeout_seconds: int
    options: list[OptionRuleView] | None
    """Options that a job may set, all others are refused; null: any may be set."""
    health: HealthView


class ProviderList(View):
    """The catalogue; empty until a generator has registered."""

    providers: list[ProviderView]


class UiCondition(View):
    """When a state is shown; null means any."""

    status: Status
    failure_stage: Stage | None
    code: Code | None
    reason: str | None
    provider_cancel: ProviderCancel | None
    images_missing: bool | None


class UiStateView(View):
    """One state that a frontend can show."""

    when: UiCondition
    key: str
    title: str
    message: str
    tone: Tone
    percent: int | None
    actions: list[Action]


class UiStateList(View):
    """Every state; the first whose condition holds is shown."""

    states: list[UiStateView]
