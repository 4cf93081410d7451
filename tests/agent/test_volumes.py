"""What the agent does with data directories while others use them."""

import os
import threading
from pathlib import Path

from chaoskit.agent.volumes import digest


def test_a_digest_is_of_names_and_contents_and_of_nothing_that_a_link_leads_to(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "metadata").mkdir(parents=True)
    (data / "metadata" / "CLI1.csv").write_bytes(b"1,2,3\n")
    (tmp_path / "outside").write_bytes(b"1")
    (data / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(data / "pipe")
    first = digest(data)
    (tmp_path / "outside").write_bytes(b"2")
    assert digest(data) == first
    (data / "metadata" / "CLI1.csv").write_bytes(b"1,2,4\n")
    changed = digest(data)
    (data / "metadata" / "CLI1.csv").rename(data / "metadata" / "CLI2.csv")
    assert len({first, changed, digest(data)}) == 3


def test_files_that_go_while_they_are_looked_at_do_no_harm(tmp_path: Path) -> None:
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            for number in range(20):
                (tmp_path / f"{number}.tmp").write_bytes(b"x")
            for number in range(20):
                (tmp_path / f"{number}.tmp").rename(tmp_path / f"{number}.csv")
            for number in range(20):
                (tmp_path / f"{number}.csv").unlink()

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        assert all(digest(tmp_path) for _ in range(400))
    finally:
        done.set()
        writer.join()
