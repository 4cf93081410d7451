"""A service that is no program of the scenario talks to the broker all the time, also between two runs."""

from pathlib import Path

import pytest
import yaml

from chaoskit import bundled, journal
from chaoskit.model.events import Message, RunEnded

from .commands import Chaoskit
from .planting import COMPOSE

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("engine")]

CHATTER = """\
import os, pika
while True:
    try:
        connection = pika.BlockingConnection(pika.ConnectionParameters(os.environ["RABBITMQ_HOST"]))
        channel = connection.channel()
        while True:
            channel.queue_declare("chatter")
            channel.basic_publish("", "chatter", b"still here")
            connection.process_data_events(0.1)
    except pika.exceptions.AMQPError as error:
        print(repr(error), flush=True)
"""


@pytest.mark.soak
def test_what_it_says_between_two_runs_is_in_no_journal_and_does_no_harm(chaoskit: Chaoskit, tmp_path: Path) -> None:
    original = bundled.scenarios_dir() / "stateful"
    # The image of the programs, by its name.
    image = "${CHAOSKIT_IMAGE:-chaoskit-stateful}"
    chatter = {"image": image, "environment": {"RABBITMQ_HOST": "rabbitmq"}, "command": ["python", "-c", CHATTER]}
    (tmp_path / "override.yaml").write_text(yaml.safe_dump({"services": {"chatter": chatter}}))
    declared = yaml.safe_load((original / bundled.FILE_NAME).read_text())
    declared["compose"] = {"files": [str(COMPOSE / "stateful.yaml"), str(tmp_path / "override.yaml")]}
    for program in declared["programs"].values():
        program.pop("command", None)
    (tmp_path / bundled.FILE_NAME).write_text(yaml.safe_dump(declared))
    done = chaoskit.green("run", str(tmp_path / bundled.FILE_NAME), "--runtime", "compose", "--kills", "1")
    run_dir = chaoskit.directory / done.report["run_dir"]
    for path in (run_dir / "control", run_dir):
        events = journal.read(path / journal.FILE_NAME)
        assert [type(event) for event in events].count(RunEnded) == 1
        assert isinstance(events[-1], RunEnded)
        # The broker's messages are counted anew in each run.
        said = [event.nth for event in events if isinstance(event, Message) and event.queue == "chatter"]
        assert said == list(range(1, len(said) + 1))
        assert said
