"""What a frontend can look up: providers, and the states that it shows."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.schemas.jobs import Action, CodeName, ProviderCancel, Stage, Status, Tone, WaitReason
from gateway.schemas.wire import View

HealthStatus = Literal["ok", "degraded", "down"]


class CapabilitiesView(View):
    """What a provider or a model supports. A request that exceeds it is refused before any call."""

    max_images_per_call: int
    """Most images that one provider call makes; a job of more images is split into several calls."""
    sizes: list[str]
    """Accepted values of `size`; empty: any size within the limits of the sides."""
    aspect_ratios: list[str]
    """Accepted values of `aspect_ratio`; empty: none."""
    min_side: int | None
    """Shortest side in pixels; null if `sizes` lists the sizes or a size cannot be chosen."""
    max_side: int | None
    """Longest side in pixels; null if `sizes` lists the sizes or a size cannot be chosen."""
    side_multiple: int
    """Both sides must be multiples of this number of pixels; 1: any."""
    max_ratio: float | None
    """Largest ratio of the longer side to the shorter one; null: any."""
    output_formats: list[str]
    """Accepted values of `output_format`; empty: none."""
    qualities: list[str]
    """Accepted values of `quality`; empty: none."""
    backgrounds: list[str]
    """Accepted values of `background`; empty: none."""
    output_compression: bool
    """True if `output_compression` is supported."""
    moderations: list[str]
    """Accepted values of `moderation`; empty: none."""
    input_fidelities: list[str]
    """Accepted values of `input_fidelity`; empty: none."""
    seed: bool
    """True if `seed` is supported."""
    negative_prompt: bool
    """True if `negative_prompt` is supported."""
    max_input_images: int
    """Most input images; 0: none."""
    mask: bool
    """True if `mask` is supported."""
    resumable: bool
    """True if a call can be followed again after a crash of this service, by an id that the provider names."""
    cancelable: bool
    """True if a call in progress can be canceled at the provider."""
    idempotent: bool
    """True if the provider never charges twice for a call that is repeated with the same key."""
    free: bool
    """True if a call costs nothing."""
    max_prompt_characters: int | None
    """Longest prompt in characters; null: only the limit of this service."""


class ModelView(View):
    """A model of a provider."""

    name: str
    """Value of `model` in a request."""
    price_micros_per_image: int | None
    """Price of one image in millionths of a US dollar; null if unknown."""
    capabilities: CapabilitiesView | None
    """What the model supports; null: the same as its provider."""


class OutageView(View):
    """A model that gets no jobs for now, because its calls keep failing."""

    model: str
    """Name of the model."""
    code: CodeName
    """Class of the last failure."""
    reason: str
    """Reason of the last failure, from the catalogue in docs/errors.md."""
    since: datetime | None
    """Start of the outage."""
    next_try_at: datetime | None
    """When one job is sent to the model again, to test it."""


class HealthView(View):
    """Health of a provider, measured by its recent calls."""

    status: HealthStatus
    """`ok`; `degraded`: some models get no jobs; `down`: the default model gets no jobs."""
    outages: list[OutageView]
    """Models that get no jobs for now; empty if all do."""


class OptionRuleView(View):
    """The values that a job may give for one option in `provider_options`."""

    path: str
    """Name of the option, with dots between the names of nested objects."""
    type: str
    """Type of the value: `integer`, `number`, `boolean`, `string` or `any`."""
    minimum: float | None
    """Smallest number; null: no limit."""
    maximum: float | None
    """Largest number; null: no limit."""
    values: list[str]
    """Accepted strings; empty: any string."""
    max_characters: int | None
    """Longest string in characters; null: no limit."""


class ProviderView(View):
    """A provider that jobs can name."""

    name: str
    """Value of `provider` in a request."""
    kind: str
    """Kind of the provider, such as `procedural` or `replicate`."""
    is_default: bool
    """True for the provider of jobs that name none."""
    default_model: str
    """Model of jobs that name none."""
    models: list[ModelView]
    """Models that jobs can name; empty: only the default model."""
    aliases: dict[str, str]
    """Other names of its models in OpenAI's calls, with the model of each."""
    capabilities: CapabilitiesView
    """What the provider supports."""
    max_concurrency: int | None
    """Most calls in progress at once, over all generators; null: no limit."""
    requests_per_minute: int | None
    """Most calls per minute, over all generators; null: no limit."""
    timeout_seconds: int
    """Longest time of one call in seconds."""
    options: list[OptionRuleView] | None
    """Options that a job may set in `provider_options`; any other is refused. Null: any option may be set."""
    health: HealthView
    """Health of the provider."""


class ProviderList(View):
    """The catalogue of providers."""

    providers: list[ProviderView]
    """Providers that the tenant may use; empty until a generator has registered its providers."""


class UiCondition(View):
    """The condition under which a state is shown. Null matches any value."""

    status: Status
    """State of the job."""
    failure_stage: Stage | None
    """Stage in which the job failed; null: any."""
    code: Annotated[CodeName | None, Field(title="Code")]
    """Class of the failure; null: any."""
    reason: str | None
    """Reason of the failure; null: any."""
    provider_cancel: ProviderCancel | None
    """Result of the cancellation at the provider; null: any."""
    images_missing: bool | None
    """True: a completed job has fewer images than requested; null: any."""
    wait: WaitReason | None
    """What the job waits for, `wait.reason`; null: any, or nothing."""


class UiStateView(View):
    """A state that a frontend can show."""

    when: UiCondition
    """Condition under which the state is shown."""
    key: str
    """Name of the state."""
    title: str
    """Title in the language of `Accept-Language`."""
    message: str
    """One or two sentences in the language of `Accept-Language`."""
    tone: Tone
    """Tone, for colour and icon."""
    percent: int | None
    """Position of a progress bar, 0 to 100; null: no bar."""
    actions: list[Action]
    """What the user can do."""


class UiStateList(View):
    """Every state that a frontend can show."""

    states: list[UiStateView]
    """States in order: the first one whose condition holds is shown."""
