"""Option rules as protobuf messages of the catalogue."""

from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers.entry import Entry
from services.generator.adapters.providers.option_rules import OptionRule


def of_entry(entry: Entry) -> provider_pb2.OptionRules:
    """Returns the rules of the options that jobs may set."""
    rules = entry.option_rules()
    if rules is None:
        return provider_pb2.OptionRules(any=True)
    return provider_pb2.OptionRules(rules=[_rule(path, rule) for path, rule in sorted(rules.items())])


def _rule(path: str, rule: OptionRule) -> provider_pb2.OptionRule:
    return provider_pb2.OptionRule(
        path=path,
        type=rule.type,
        minimum=rule.minimum,
        maximum=rule.maximum,
        values=rule.values,
        max_characters=rule.max_characters if rule.type == "string" else 0,
    )
