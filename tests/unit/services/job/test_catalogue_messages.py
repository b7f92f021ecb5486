"""The catalogue in messages and in rows: what a model can do goes all the way, and older writers say nothing of it."""

from calotype.provider.v1 import provider_pb2

from services.job.domain.providers import Capabilities, Model, Provider
from services.job.messages import from_protobuf, to_protobuf
from services.job.store import rows

ABLE = Capabilities(max_images_per_call=4, aspect_ratios=("1:1",), seed=True, side_multiple=0)
OWN = Capabilities(max_input_images=3, mask=True, qualities=("2k",), side_multiple=0)
KNOWN = Provider(
    name="fal",
    kind="fal",
    is_default=True,
    default_model="a",
    models=(Model(name="a", price_micros_per_image=4), Model(name="b", capabilities=OWN)),
    capabilities=ABLE,
    aliases={"dall-e-3": "b"},
)


def test_what_a_model_can_do_comes_back_as_it_was_told() -> None:
    told = to_protobuf.provider(KNOWN)

    assert [model.HasField("capabilities") for model in told.models] == [False, True]
    assert from_protobuf.provider(provider_pb2.Provider.FromString(told.SerializeToString())) == KNOWN
    assert rows.from_json(Provider, rows.to_json(KNOWN)) == KNOWN


def test_a_generator_of_an_earlier_version_says_nothing_of_models() -> None:
    earlier = rows.to_json(KNOWN)
    for model in earlier["models"]:
        del model["capabilities"]
    del earlier["aliases"]

    assert rows.from_json(Provider, earlier).aliases == {}
    assert [model.capabilities for model in rows.from_json(Provider, earlier).models] == [None, None]
