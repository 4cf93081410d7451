"""A power loss changes the files at once: a program that shares the data directory sees no state in between."""

import textwrap
from pathlib import Path

WORKER = """
import os, signal
directory = os.environ["WORKER_DATA_DIR"]
names = [f"{directory}/kept-{number}" for number in range(300)]
if not os.path.exists(names[-1]):
    for name in names:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    os.fsync(os.open(directory, os.O_RDONLY))
    os.write(os.open(f"{directory}/unsynced", os.O_CREAT | os.O_WRONLY), b"text")
else:
    os.close(os.open(f"{directory}/end", os.O_CREAT | os.O_WRONLY))
signal.pause()
"""
LOOKER = """
import os, signal
directory = os.environ["WORKER_DATA_DIR"]
last = f"{directory}/kept-299"
while not os.path.exists(last):
    pass
missing = 0
while not os.path.exists(f"{directory}/end"):
    missing += not os.path.exists(last)
print(f"{'FAILURE' if missing else 'SUCCESS'} [last] - {missing} times missing", flush=True)
signal.pause()
"""
SCENARIO = """
name: one-moment
broker: false
programs:
  worker: {command: [python, worker.py], data: shared}
  looker: {command: [python, looker.py], data: shared}
target: worker
verifier: {program: looker, expect: [last]}
timeout_s: 30
"""


def test_who_shares_the_directory_never_sees_it_half_restored(run, empty: Path) -> None:  # type: ignore[no-untyped-def]
    for name, text in (("worker.py", WORKER), ("looker.py", LOOKER), ("scenario.yaml", SCENARIO)):
        (empty / name).write_text(textwrap.dedent(text))
    plan = "steps: [{power-loss: worker, at: {write: unsynced, nth: 1, when: after}, state: min}]"
    ran = run(empty / "scenario.yaml", plan=plan, control=False)
    assert [fault.fired for fault in ran.report.faults] == [True], ran.report
    assert ran.outcomes == {"last": "SUCCESS"}, ran.report.verdicts
