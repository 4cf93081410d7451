"""The networks of a run's project, and the agent in the place of the broker: pure, from real files."""

import pytest

from chaoskit.model.errors import UsageError
from chaoskit.runtime.compose import networks
from chaoskit.runtime.compose.networks import AGENT, BROKER_ADDRESS, BROKER_NETWORK

from .transforming import PIPELINE, Transform, mounted, service


def test_the_agent_has_the_names_of_the_broker_on_all_of_its_networks(transform: Transform) -> None:
    made = transform(
        "services:\n"
        "  mq:\n"
        "    image: rabbitmq:4\n"
        "    container_name: my-rabbit\n"
        "    hostname: rabbit\n"
        "    networks: {front: , back: {aliases: [broker]}}\n"
        "  worker: {image: me, networks: [back]}\n"
        "networks: {front: , back: , unrelated: }\n"
    )
    assert made.broker == "mq"
    agent = service(made, AGENT)["networks"]
    assert set(agent) == {"front", "back", BROKER_NETWORK}
    assert set(agent["back"]["aliases"]) == {"mq", "my-rabbit", "rabbit", "broker"}
    assert set(agent["front"]["aliases"]) == {"mq", "my-rabbit", "rabbit"}
    assert service(made, "mq")["networks"] == {BROKER_NETWORK: {"aliases": [BROKER_ADDRESS]}}
    assert service(made, "mq")["hostname"] == "rabbit"
    others = [name for name in made.document["services"] if name not in ("mq", AGENT)]
    assert not any(BROKER_NETWORK in service(made, name)["networks"] for name in others)


def test_the_agent_may_look_into_other_processes_and_sees_the_data(transform: Transform) -> None:
    made = transform(PIPELINE)
    agent = service(made, AGENT)
    assert (agent["pid"], agent["cap_add"], agent["user"], agent["restart"]) == ("host", ["SYS_PTRACE"], "0:0", "no")
    assert "privileged" not in agent
    assert set(mounted(made, AGENT)) == {"/data/chaoskit-data-worker", "/.chaoskit"}
    assert AGENT not in made.backing


def test_a_fixed_address_of_the_broker_is_the_agents(transform: Transform) -> None:
    made = transform(
        "services:\n"
        "  rabbitmq: {image: rabbitmq, networks: {back: {ipv4_address: 172.30.0.10}}}\n"
        "  worker: {image: me, networks: [back, free]}\n"
        "networks:\n"
        "  back: {ipam: {config: [{subnet: 172.30.0.0/16}]}}\n"
        "  free:\n"
        "    name: named\n"
        "    ipam: {config: [{subnet: 172.31.0.0/16}]}\n"
        "    driver_opts: {com.docker.network.bridge.name: br7}\n"
    )
    assert service(made, AGENT)["networks"]["back"]["ipv4_address"] == "172.30.0.10"
    assert made.document["networks"]["back"]["ipam"]["config"] == [{"subnet": "172.30.0.0/16"}]
    assert set(made.document["networks"]["free"]) == {"labels"}
    assert any("fixed addresses" in note for note in made.notes)


def test_external_networks_and_those_of_other_drivers_are_replaced(transform: Transform) -> None:
    made = transform(
        f"{PIPELINE}    networks: [shared, lan, inside]\n"
        "networks:\n"
        "  shared: {external: true}\n"
        "  lan: {driver: macvlan}\n"
        "  inside: {internal: true}\n"
        "  unused: {external: true}\n"
    )
    assert set(made.document["networks"]["shared"]) == set(made.document["networks"]["lan"]) == {"labels"}
    assert made.document["networks"]["inside"]["internal"] is True
    assert len(made.notes) == 2


def test_links_become_names_in_the_networks_that_both_are_in(transform: Transform) -> None:
    made = transform(f"{PIPELINE}    links: ['rabbitmq:queue', 'db:store', 'db']\n  db: {{image: me}}\n")
    assert service(made, "worker")["links"] == []
    assert service(made, "db")["networks"]["default"]["aliases"] == ["store"]
    assert "queue" in service(made, AGENT)["networks"]["default"]["aliases"]


def test_links_out_of_the_project_are_left_out_with_a_note(transform: Transform) -> None:
    made = transform(f"{PIPELINE}    external_links: [other-project-db]\n")
    assert "external_links" not in service(made, "worker")
    assert any("external_links" in note for note in made.notes)


def test_a_project_without_a_broker_has_an_agent_without_a_network(transform: Transform) -> None:
    made = transform("services: {worker: {image: me}}\n", has_broker=False)
    assert made.broker is None
    assert service(made, AGENT)["network_mode"] == "none"
    assert made.backing == []


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ("mq: {image: 'registry:5000/team/rabbitmq:3-management@sha256:" + "0" * 64 + "'}", "mq"),
        ("mq: {image: 'bitnami/rabbitmq:4'}\n  exporter: {image: kbudde/rabbitmq-exporter}", "mq"),
        ("queue: {image: mine, ports: ['5672:5672']}\n  web: {image: me, ports: ['80:80']}", "queue"),
        ("queue: {image: mine, ports: ['1234:5672']}", "queue"),
        ("queue: {image: mine, expose: ['5672']}", "queue"),
        ("rabbit: {build: .}\n  db: {image: postgres}", "rabbit"),
        ("q: {build: ., hostname: rabbitmq}", "q"),
    ],
)
def test_the_broker_is_found(transform: Transform, services: str, expected: str) -> None:
    made = transform(f"services:\n  worker: {{image: me}}\n  {services}\n")
    assert made.broker == expected


def test_a_broker_that_cannot_be_told_has_to_be_named(transform: Transform) -> None:
    two = "services:\n  worker: {image: me}\n  one: {image: rabbitmq}\n  two: {image: rabbitmq}\n"
    with pytest.raises(UsageError, match=r"one and two both look like the broker: name one in `compose\.broker`"):
        transform(two)
    assert transform(two, broker="two").broker == "two"
    with pytest.raises(UsageError, match=r"no service looks like an AMQP broker.*services: db.*broker: false"):
        transform("services:\n  worker: {image: me}\n  db: {image: postgres}\n")
    with pytest.raises(UsageError, match="no service 'three' to be the broker"):
        transform(two, broker="three")
    with pytest.raises(UsageError, match="worker is a program of the scenario"):
        transform(two, broker="worker")


def test_a_broker_without_a_network_is_refused(transform: Transform) -> None:
    with pytest.raises(UsageError, match="service rabbitmq: `network_mode: none` of the broker"):
        transform("services:\n  worker: {image: me}\n  rabbitmq: {image: rabbitmq, network_mode: none}\n")


def test_ports_of_the_broker_beside_the_proxys_are_passed_on() -> None:
    created = {"Config": {"ExposedPorts": {"5672/tcp": {}, "15672/tcp": {}, "4369/tcp": {}, "9000/udp": {}}}}
    assert networks.forwarded_ports(created, 5672) == [4369, 15672]
    assert networks.forwarded_ports({"Config": {}}, 5672) == []
