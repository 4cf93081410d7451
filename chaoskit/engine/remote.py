"""Taps and proxies that are with the agent, as the pipeline and the executor see them.

The agent carries out the steps that fall while a call or a message is held; everything it tells becomes an event of the
run here, in the order in which it happened there.
"""

import base64
import signal
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from chaoskit import tap
from chaoskit.agent.revisits import read_below
from chaoskit.engine.aftermath import Aftermath
from chaoskit.engine.executor import Executor
from chaoskit.engine.outages import Containers, Outages
from chaoskit.engine.pipeline import Depth, Pipeline
from chaoskit.engine.taps import Liaison
from chaoskit.faults import TABLE
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import FaultFired, Flag, Message
from chaoskit.model.triggers import AtMessage
from chaoskit.runtime.compose.link import AgentLink, Event
from chaoskit.runtime.compose.mounts import Place

# Whether a fault's own act is no more than a signal, which the agent sends while the message is still held.
_SIGNALS = {"kill": int(signal.SIGKILL), "stop": int(signal.SIGTERM)}
# What the agent begins with while the message is held, of faults whose act is more than that; a cut is no more.
_FIRST = {"broker-kill": "kill-broker", "broker-restart": "broker", "disconnect": "disconnect", "cut": "cut"}


class RemoteTaps:
    """What the agent has to know before a life begins, and what it saw in it. `places` are the watched directories."""

    def __init__(
        self,
        pipeline: Pipeline,
        executor: Executor,
        link: AgentLink,
        places: Mapping[str, Place],
        targets: Collection[str],
    ) -> None:
        self._link, self._places, self._targets = link, places, targets
        self._programs = pipeline.scenario.programs
        # What the agent read of a file at the call that is told of, by offset; after the run, whoever has the files.
        self._later: dict[int, Event] = {}
        self._home: Path | None = None
        self._data_name = pipeline.scenario.data_name
        self._aftermath = Aftermath(self._read, pipeline.emit, pipeline.now_s)
        self._liaison = Liaison(
            pipeline,
            executor,
            heal=lambda order_id: link.tell("heal", order=order_id),
            time_s=lambda there_s: pipeline.now_s(link.local_s(there_s)),
            aftermath=self._aftermath,
        )
        self.powered = self._liaison.powered
        self.digest = ""
        pipeline.before_restart = self._lose

    def hear(self, event: Event) -> None:
        """A report of the agent's station."""
        self._later = {found["offset"]: found for found in event["later"]}
        self._liaison.hear(tap.Report.from_json(event["report"]))

    def came_home(self, data: Path) -> None:
        """The run is over, and the data directories are below `data`: the files that faults fell on, once more."""
        self._home = data
        self._aftermath.end()

    def _read(self, program: str, path: str, offset: int) -> tuple[int, bytes] | None:
        if self._home is not None:
            return read_below(self._home / self._data_name(program), path, offset)
        found = self._later.get(offset, {})
        return (int(found["file_bytes"]), base64.b64decode(found["data"])) if "data" in found else None

    def _lose(self, program: str) -> None:
        """The power was cut when the last life ended; the agent does this before it prepares the next one."""
        if self._liaison.power_was_cut(program):
            shared = self._places[program].volume
            others = [name for name, place in self._places.items() if place.volume == shared and name != program]
            self._link.tell("lose", program=program, others=others)

    def tapped(self, program: str) -> bool:
        return program in self._targets

    async def prepare(self, program: str, life: int, container: str) -> None:
        place = self._places.get(program)
        tapped = place is not None and self.tapped(program)
        # Only a later life's beginning tells experiments apart.
        digested = sorted({place.volume for place in self._places.values()}) if life else []
        digest = await self._link.ask(
            "prepare",
            program=program,
            container=container,
            life=life,
            tapped=tapped,
            root=self._programs[program].data_dir,
            data=place.in_agent() if place else "",
            orders=[order.to_json() for order in self._liaison.orders(program)] if tapped else [],
            digested=digested,
        )
        # A first life that begins while another program recovers must not take the place of what that one found.
        if life:
            self.digest = digest

    async def started(self, program: str, pid: int) -> None:
        await self._link.ask("started", program=program, pid=pid)

    async def signal(self, program: str, number: int) -> bool:
        return bool(await self._link.ask("signal", program=program, number=number))

    async def ended(self, program: str) -> None:
        await self._link.ask("ended", program=program)


class RemoteConnections:
    """Broker and proxies of a Compose run; `outages` hurts networks and the broker itself."""

    def __init__(self, pipeline: Pipeline, executor: Executor, link: AgentLink, containers: Containers) -> None:
        self._pipeline, self._executor, self._link = pipeline, executor, link
        self.outages = Outages(pipeline, link, containers, self._contents)
        self._consumers: dict[str, list[str]] = {}
        self._links: Counter[str] = Counter()
        self._queues: dict[str, Depth] = {}
        self._consumed: set[str] = set()
        # How many messages each queue holds: what the broker said last, and what has happened since then.
        self._inside: Counter[str] = Counter()
        # What the broker said last is worth nothing once something else has happened.
        self._fresh = True
        self._held, self._late = False, 0

    # --- what the agent tells ---

    def hear(self, event: Event) -> None:
        """A message, a change of connections, or how full the queues are."""
        handlers: dict[str, Callable[[Event], None]] = {
            "message": self._on_message,
            "change": self._on_change,
            "depths": self._on_depths,
            "fired": self._on_fired,
            "failed": lambda event: self._executor.failed(event["index"], event["reason"]),
            "due": self._on_due,
            "tap-failed": self._on_tap_failed,
            "broker": lambda event: self.outages.broker_answers(event["queues"]),
            "broken": lambda event: self._pipeline.lost("the agent", event["reason"]),
        }
        handler = handlers.get(event["event"])
        if handler is None:
            self._pipeline.lost("the agent", f"it says {event['event']!r}, which this chaoskit does not know")
        else:
            handler(event)
            self._pipeline.changed.set()

    def _on_message(self, event: Event) -> None:
        self._fresh = False
        self._inside[event["queue"]] += {"published": 1, "acked": -1, "rejected": -1}.get(event["kind"], 0)
        self._pipeline.emit(
            Message(
                self._pipeline.now_s(event["t_s"]),
                event["program"],
                event["kind"],
                event["queue"],
                event["nth"],
                event["message_id"],
                event["size"],
                event["redelivered"],
                event["injected"],
            )
        )

    def _on_change(self, event: Event) -> None:
        self._fresh = False
        program, kind, detail = event["program"], event["kind"], event["detail"]
        self._consumers[program] = event["consumers"]
        self._links[program] += {"connected": 1, "disconnected": -1}.get(kind, 0)
        if kind == "refused":
            self._pipeline.lost("broker", detail)
        elif kind == "copy-lost":
            self._pipeline.lost("proxy", f"a copy could not be sent: {detail}")
        elif kind == "copy-away":
            now_s = self._pipeline.now_s(event["t_s"])
            self._pipeline.emit(Flag(now_s, "broker", f"a copy was lost with the broker: {detail}"))
        elif kind == "opaque":
            now_s = self._pipeline.now_s(event["t_s"])
            self._pipeline.emit(Flag(now_s, program, "speaks no AMQP to the broker: its messages are unseen"))

    def _on_depths(self, event: Event) -> None:
        self._queues = {name: Depth(*depth) for name, depth in event["queues"].items()}
        self._inside = Counter({name: depth.ready + depth.unacked for name, depth in self._queues.items()})
        self._held, self._late = event["held"], event["late"]
        self._fresh = True

    def _on_tap_failed(self, event: Event) -> None:
        # A life that is killed in its first moments brings no listener, and that is nobody's failure.
        if self._pipeline.alive(event["program"]) and not self._pipeline.stopping:
            self._pipeline.lost(f"the tap of {event['program']}", event["reason"])

    def _on_fired(self, event: Event) -> None:
        index = event["index"]
        if index in self._executor.outstanding:
            t_s = self._pipeline.now_s(event["t_s"])
            self._executor.call_fired(index, FaultFired(t_s, index, event["point"], detail=event.get("detail", "")))

    def _on_due(self, event: Event) -> None:
        index = event["index"]
        self._executor.act_now(index, event["point"])
        step = self._executor.plan.steps[index]
        if _FIRST.get(step.fault) == "disconnect":
            # The program may have died since the agent let nothing of it through.
            self.outages.undo_unless_begun(step.target)

    def _contents(self) -> dict[str, int]:
        return {name: max(count, 0) for name, count in self._inside.items()}

    # --- what the pipeline asks ---

    def address(self, program: str) -> Mapping[str, str]:
        return {}

    def consuming(self, program: str) -> bool:
        return bool(self._consumers.get(program))

    def drained(self) -> bool:
        return self._fresh and not self._held and not self._waiting()

    def in_progress(self) -> bool:
        return (
            not self._fresh or self._held or any(q.unacked or (q.ready and q.consumers) for q in self._queues.values())
        )

    def _waiting(self) -> dict[str, str]:
        """Queues that hold messages for somebody who consumes, or did, with their depth in words."""
        self._consumed.update(name for name, depth in self._queues.items() if depth.consumers)
        return {
            name: f"{name}: {depth.ready} ready, {depth.unacked} unacknowledged"
            for name, depth in self._queues.items()
            if name in self._consumed and (depth.ready or depth.unacked)
        }

    def depths(self) -> str:
        return "; ".join(self._waiting().values())

    def queues(self) -> Mapping[str, Depth]:
        return self._queues

    def connected(self, program: str) -> bool:
        return self._links[program] > 0

    def cut_off(self, program: str) -> bool:
        return self.outages.cut_off(program)

    def cut(self, program: str) -> None:
        self._link.tell("cut", program=program)

    def disconnect(self, program: str, for_s: float) -> None:
        self.outages.disconnect(program, for_s)

    def kill_broker(self, for_s: float) -> None:
        self.outages.hurt_broker(for_s, kill=True)

    def stop_broker(self, for_s: float) -> None:
        self.outages.hurt_broker(for_s, kill=False)

    def broker_up(self) -> bool:
        return not self.outages.of_broker

    def mending(self) -> bool:
        return self.outages.any()

    def send_late(self) -> bool:
        if not self._late:
            return False
        self._late, self._held, self._fresh = 0, True, False
        self._link.tell("send_late")
        return True

    async def close(self) -> None:
        await self.outages.close()
        try:
            await self._link.ask("end")
        except EnvironmentProblem as error:
            # An agent that is gone was told already, unless it went just now.
            self._pipeline.lost("the agent", str(error))


def message_steps(executor: Executor) -> list[dict[str, Any]]:
    """The steps of the plan that wait for a message, for the agent."""
    steps = []
    for index, step in enumerate(executor.plan.steps):
        if not isinstance(step.at, AtMessage):
            continue
        fault = TABLE[step.fault]
        made: dict[str, Any] = {
            "index": index,
            "event": step.at.event,
            "queue": step.at.queue,
            "nth": step.at.nth,
            "target": step.target,
        }
        if fault.on_message is not None:
            action = fault.on_message(step)
            made |= {"kind": action.kind, "copies": action.copies, "late": action.late, "seconds": action.seconds}
        else:
            made["signal"] = _SIGNALS.get(step.fault, 0)
            made["first"] = _FIRST.get(step.fault, "")
        steps.append(made)
    return steps
