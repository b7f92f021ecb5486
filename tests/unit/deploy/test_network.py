"""Network policies open the arrows of docs/architecture.md, and no others."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.support.deploy.manifests import NAME, containers, environment, named, of_kind

INTERNET = "0.0.0.0/0"
#: In place of the database's addresses, which settings.env has.
DATABASE = "192.0.2.0/24"
DNS = {"kube-dns", "node-local-dns", "169.254.20.10/32"}


def chosen(selector: Mapping[str, Any]) -> set[str]:
    """Names of the services that a selector chooses."""
    if "matchLabels" in selector:
        return {selector["matchLabels"].get(NAME, "*")}
    [expression] = selector["matchExpressions"]
    return set(expression["values"])


def asked_for(peer: Mapping[str, Any]) -> set[str]:
    """Where a rule lets its pods go."""
    if "podSelector" in peer:
        return chosen(peer["podSelector"])
    return {peer["ipBlock"]["cidr"]} if peer else {"anywhere"}


def test_only_the_arrows_of_the_architecture_are_open() -> None:
    arrows = {
        (source, target, port["port"])
        for policy in of_kind("NetworkPolicy")
        for target in chosen(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", ())
        for source in (chosen(rule["from"][0]["podSelector"]) if "from" in rule else {"anybody"})
        for port in rule["ports"]
    }
    asked = {
        (source, target, port["port"])
        for policy in of_kind("NetworkPolicy")
        for source in chosen(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("egress", ())
        for peer in rule.get("to", ({},))
        for target in asked_for(peer)
        for port in rule["ports"]
    }

    assert arrows == {
        ("anybody", "gateway", "http"),
        ("gateway", "job", "clients"),
        ("notifier", "job", "clients"),
        ("gateway", "notifier", "grpc"),
        ("generator", "job", "workers"),
        ("uploader", "job", "workers"),
        ("job", "nats", "client"),
        ("generator", "nats", "client"),
        ("uploader", "nats", "client"),
        ("notifier", "nats", "client"),
        ("nats", "nats", "cluster"),
    }
    assert asked == {
        ("gateway", "job", 50051),
        ("gateway", "notifier", 50051),
        ("notifier", "job", 50051),
        ("generator", "job", 50052),
        ("uploader", "job", 50052),
        ("job", "nats", 4222),
        ("generator", "nats", 4222),
        ("uploader", "nats", 4222),
        ("notifier", "nats", 4222),
        ("nats", "nats", 6222),
        # PostgreSQL is outside; so are providers, the object store and receivers of webhooks.
        ("job", DATABASE, 5432),
        ("migrate", DATABASE, 5432),
        ("reconcile", DATABASE, 5432),
        ("notifier", DATABASE, 5432),
        ("generator", INTERNET, 443),
        ("uploader", INTERNET, 443),
        ("reconcile", INTERNET, 443),
        ("notifier", INTERNET, 80),
        ("notifier", INTERNET, 443),
        # Names.
        *(("*", server, 53) for server in DNS),
        *(("nats", server, 53) for server in DNS),
    }
    nothing = named("NetworkPolicy", "calotype-nothing")["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & nothing.keys()


@pytest.mark.parametrize("policy", ["workers", "notifier", "reconcile"])
def test_those_who_reach_the_internet_reach_no_private_address(policy: str) -> None:
    rules = named("NetworkPolicy", policy)["spec"]["egress"]
    [block] = [peer["ipBlock"] for rule in rules for peer in rule["to"] if "except" in peer.get("ipBlock", ())]
    private = ("10.1.2.3", "172.20.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254")

    assert [one for one in private if not any(ip_address(one) in ip_network(net) for net in block["except"])] == []


def test_receivers_may_have_the_ports_that_the_notifier_reaches() -> None:
    told = environment(containers(named("Deployment", "notifier"))[0])["CALOTYPE_WEBHOOK_PORTS"]
    rules = named("NetworkPolicy", "notifier")["spec"]["egress"]
    [ports] = [rule["ports"] for rule in rules if any("except" in peer.get("ipBlock", ()) for peer in rule["to"])]

    assert [str(port["port"]) for port in ports] == told.split(",")
