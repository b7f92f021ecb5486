"""What holds for every provider, wherever its pictures come from."""

from tests.support.providers.provider_fixtures import ProviderFixture, carry_out
from tests.support.providers.scripted_http import ScriptedServer


async def test_a_call_brings_one_image_of_exactly_one_kind(subject: ProviderFixture) -> None:
    order = subject.order()
    subject.expect_success(order)

    [image] = (await carry_out(subject.provider, order)).images

    assert [image.data, image.base64, image.url].count(None) == 2


async def test_the_largest_call_that_it_offers_brings_as_many_images(subject: ProviderFixture) -> None:
    order = subject.order(count=subject.provider.max_images_per_call)
    subject.expect_success(order)

    assert len((await carry_out(subject.provider, order)).images) == subject.provider.max_images_per_call


async def test_what_a_call_costs_is_what_the_catalogue_says(subject: ProviderFixture) -> None:
    order = subject.order(count=subject.provider.max_images_per_call)
    subject.expect_success(order)

    made = await carry_out(subject.provider, order)

    [model] = subject.provider.describe(is_default=False).models
    assert made.cost_micros == model.price_micros_per_image * order.count


async def test_what_is_harmless_to_repeat_gives_the_same_again(
    subject: ProviderFixture, vendor: ScriptedServer
) -> None:
    order = subject.order()
    subject.expect_success(order)
    first = await carry_out(subject.provider, order)
    if subject.provider.traits.harmless:
        subject.expect_success(order)
        assert (await carry_out(subject.provider, order)).images == first.images
    else:
        # Who charges for each request is told so by its traits, and asked once.
        assert sum(one.method == "POST" for one in vendor.requests) == 1


async def test_the_catalogue_says_what_the_plan_goes_by(subject: ProviderFixture) -> None:
    provider = subject.provider
    told = provider.describe(is_default=True)
    offers = told.capabilities

    assert (told.name, told.is_default) == (provider.name, True)
    assert told.default_model in [model.name for model in told.models]
    assert (offers.free, offers.idempotent, offers.resumable) == (
        provider.traits.free,
        provider.traits.idempotent,
        provider.traits.resumable,
    )
    assert offers.max_images_per_call == provider.max_images_per_call >= 1
    assert told.timeout_seconds == provider.timeout_seconds > 0
    assert provider.poll_interval_seconds > 0


async def test_nothing_happens_before_somebody_asks(subject: ProviderFixture, vendor: ScriptedServer) -> None:
    subject.provider.describe(is_default=False)

    assert vendor.requests == []


async def test_to_close_twice_harms_nobody(subject: ProviderFixture) -> None:
    await subject.provider.close()
    await subject.provider.close()
