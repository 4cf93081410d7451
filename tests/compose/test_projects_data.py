"""Where the data of a run's project lives: on volumes of the run, whatever the user's file has there."""

from pathlib import Path

import pytest

from chaoskit.model.errors import UsageError
from chaoskit.runtime.compose import command
from chaoskit.runtime.compose.mounts import Place
from chaoskit.runtime.compose.project import AGENT, Needs

from .transforming import PIPELINE, Transform, mounted, service

IN_DATA = {"worker": Needs(data_dir="/data", watched=True)}


def test_a_named_volume_stays_and_gets_a_name_of_the_run(transform: Transform) -> None:
    made = transform(
        f"{PIPELINE}    volumes: ['data:/app']\n"
        "volumes: {data: {name: fixed, driver_opts: {type: tmpfs, device: tmpfs}}}\n"
    )
    assert made.programs["worker"].data == Place("data", "worker-data", False)
    assert mounted(made, "worker") == {"/app": ("volume", "data", False)}
    assert mounted(made, AGENT)["/data/data"] == ("volume", "data", False)
    assert "name" not in made.document["volumes"]["data"]
    assert made.document["volumes"]["data"]["driver_opts"]["device"] == "tmpfs"
    assert made.volumes == ["data"]
    assert made.notes == []


def test_a_watched_directory_that_no_volume_covers_gets_one(transform: Transform) -> None:
    made = transform(f"{PIPELINE}    volumes: ['data:/elsewhere']\nvolumes: {{data: }}\n", programs=IN_DATA)
    assert made.programs["worker"].data == Place("chaoskit-data-worker", "", True)
    assert mounted(made, "worker")["/data"] == ("volume", "chaoskit-data-worker", False)
    assert "chaoskit-data-worker" in made.document["volumes"]


def test_a_program_that_is_not_watched_keeps_its_root_file_system(transform: Transform) -> None:
    made = transform(PIPELINE, programs={"worker": Needs()})
    assert made.programs["worker"].data is None
    assert mounted(made, "worker") == {}


def test_a_bind_mount_of_data_is_replaced_for_everybody_who_sees_it(transform: Transform, tmp_path: Path) -> None:
    made = transform(
        f"{PIPELINE}    volumes: ['./store:/data']\n"
        "  judge: {image: me, volumes: ['./store:/seen:ro', './code:/code:ro']}\n",
        programs={**IN_DATA, "judge": Needs(data_dir="/seen")},
    )
    assert mounted(made, "worker")["/data"] == ("volume", "chaoskit-data-worker", False)
    assert mounted(made, "judge")["/seen"] == ("volume", "chaoskit-data-worker", True)
    assert mounted(made, "judge")["/code"] == ("bind", str(tmp_path / "code"), True)
    assert made.programs["worker"].data == made.programs["judge"].data == Place("chaoskit-data-worker", "", True)
    assert [note for note in made.notes if "yours, which stays as it is" in note and str(tmp_path / "store") in note]


def test_a_data_directory_inside_of_a_bind_mount_gets_a_volume_of_its_own(transform: Transform, tmp_path: Path) -> None:
    made = transform(
        f"{PIPELINE}    volumes: ['.:/app']\n  judge: {{image: me, volumes: ['.:/srv:ro']}}\n",
        programs={"worker": Needs(watched=True), "judge": Needs(data_dir="/srv/worker-data")},
    )
    assert mounted(made, "worker") == {
        "/app": ("bind", str(tmp_path), True),
        "/app/worker-data": ("volume", "chaoskit-data-worker", False),
    }
    assert mounted(made, "judge")["/srv/worker-data"] == ("volume", "chaoskit-data-worker", True)
    assert made.programs["judge"].data == made.programs["worker"].data


def test_bind_mounts_that_overlap_with_replaced_data_are_refused(transform: Transform) -> None:
    text = f"{PIPELINE}    volumes: ['./store:/data']\n  judge: {{image: me, volumes: ['./store/inner:/seen']}}\n"
    with pytest.raises(UsageError, match=r"service judge: the bind mount .*store/inner is inside of"):
        transform(text, programs=IN_DATA)


def test_volumes_that_hold_the_users_data_are_replaced_by_empty_ones(transform: Transform) -> None:
    made = transform(
        f"{PIPELINE}    volumes: ['ext:/data', 'dir:/dir', 'nfs:/nfs', 'cloud:/cloud']\n"
        "volumes:\n"
        "  ext: {external: true, name: precious}\n"
        "  dir: {driver_opts: {type: none, o: bind, device: /srv/precious}}\n"
        "  nfs: {driver_opts: {type: nfs, o: addr=10.0.0.1, device: ':/export'}}\n"
        "  cloud: {driver: rexray/ebs}\n"
        "  unused: {external: true}\n",
        programs=IN_DATA,
    )
    for key in ("ext", "dir", "nfs", "cloud"):
        assert set(made.document["volumes"][key]) == {"labels"}
    assert made.programs["worker"].data == Place("ext", "", True)
    assert len(made.notes) == 4
    assert all("an empty one of its own" in note for note in made.notes)


def test_other_bind_mounts_are_read_only_and_a_note_says_what_to_do(transform: Transform, tmp_path: Path) -> None:
    made = transform(f"{PIPELINE}    volumes: ['./conf:/etc/app', '/var/run/docker.sock:/var/run/docker.sock']\n")
    assert mounted(made, "worker")["/etc/app"] == ("bind", str(tmp_path / "conf"), True)
    assert mounted(made, "worker")["/var/run/docker.sock"][2] is False
    assert any("mounted read-only" in note and "`data_dir`" in note for note in made.notes)
    assert any("the engine's socket" in note for note in made.notes)


def test_data_of_backing_services_on_bind_mounts_is_replaced(transform: Transform, tmp_path: Path) -> None:
    made = transform(
        f"{PIPELINE}"
        "  db:\n"
        "    image: postgres\n"
        "    volumes:\n"
        "      - ./pg:/var/lib/postgresql/data\n"
        "      - ./my.conf:/etc/my.conf\n"
        "      - ./c:/var/lib/rabbitmq/.erlang.cookie\n"
    )
    seen = mounted(made, "db")
    assert seen["/var/lib/postgresql/data"] == ("volume", "chaoskit-bind-db-0", False)
    assert seen["/etc/my.conf"] == ("bind", str(tmp_path / "my.conf"), True)
    assert seen["/var/lib/rabbitmq/.erlang.cookie"] == ("bind", str(tmp_path / "c"), True)


def test_a_bind_mount_of_nothing_becomes_a_volume_that_may_be_written(transform: Transform, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    made = transform(
        f"{PIPELINE}    volumes: ['./full:/full', './empty:/empty', './none:/none', '/var/run:/run:ro']\n",
        missing=[str(tmp_path / "empty"), str(tmp_path / "none")],
    )
    seen = mounted(made, "worker")
    assert [seen[path][0] for path in ("/full", "/empty", "/none")] == ["bind", "volume", "volume"]


def test_what_is_missing_is_looked_up_on_this_machine(tmp_path: Path, engine: None) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "a-file").touch()
    names = ("full", "empty", "none", "a-file")
    binds = [{"type": "bind", "source": str(tmp_path / name), "target": f"/{name}"} for name in names]
    found = command.missing({"services": {"a": {"volumes": binds}}})
    assert found == {str(tmp_path / "empty"), str(tmp_path / "none")}


def test_anonymous_volumes_of_programs_outlive_their_containers(transform: Transform) -> None:
    made = transform(f"{PIPELINE}    volumes: [/data, /cache]\n", programs=IN_DATA)
    assert made.programs["worker"].data == Place("chaoskit-volume-worker-0", "", False)
    assert mounted(made, "worker")["/cache"] == ("volume", "chaoskit-volume-worker-1", False)


def test_volumes_from_another_service_are_seen(transform: Transform) -> None:
    made = transform(
        f"{PIPELINE}    volumes_from: ['holder']\n"
        "  holder: {image: me, volumes: ['data:/data']}\n"
        "volumes: {data: }\n",
        programs=IN_DATA,
    )
    assert made.programs["worker"].data == Place("data", "", False)


def test_a_subpath_of_a_volume_is_part_of_the_place(transform: Transform) -> None:
    mount = "{type: volume, source: data, target: /data, volume: {subpath: a/b}}"
    made = transform(f"{PIPELINE}    volumes: [{mount}]\nvolumes: {{data: }}\n", programs=IN_DATA)
    assert made.programs["worker"].data == Place("data", "a/b", False)


def test_a_tmpfs_elsewhere_is_none_of_our_business(transform: Transform) -> None:
    mount = "{type: tmpfs, target: /data/cache}"
    made = transform(
        f"{PIPELINE}    tmpfs: [/tmp]\n    volumes: ['data:/data', {mount}]\nvolumes: {{data: }}\n", programs=IN_DATA
    )
    assert made.programs["worker"].data == Place("data", "", False)
    assert service(made, "worker")["tmpfs"] == ["/tmp"]


def test_the_agent_sees_what_programs_alone_write_to(transform: Transform) -> None:
    made = transform(
        f"{PIPELINE}    volumes: ['data:/data', 'own:/own', 'shared:/shared', 'read:/read:ro', /anonymous]\n"
        "  db: {image: me, volumes: ['shared:/shared', /anonymous]}\n"
        "volumes: {data: , own: , shared: , read: }\n",
        programs=IN_DATA,
    )
    assert made.volumes == ["data", "own", "chaoskit-volume-worker-4"]
    assert made.programs["worker"].fresh == {}


def test_volumes_in_the_place_of_something_else_are_told_with_their_mounts(
    transform: Transform, tmp_path: Path
) -> None:
    made = transform(
        f"{PIPELINE}    volumes: ['./mine:/data', './none:/out', 'ext:/ext']\nvolumes: {{ext: {{external: true}}}}\n",
        programs=IN_DATA,
        missing=[str(tmp_path / "none")],
    )
    assert made.programs["worker"].fresh == {
        "chaoskit-data-worker": "/data",
        "chaoskit-bind-worker-1": "/out",
        "ext": "/ext",
    }
    assert set(made.programs["worker"].fresh) == set(made.volumes)


def test_one_directory_in_several_places_becomes_one_volume(transform: Transform, tmp_path: Path) -> None:
    made = transform(
        f"{PIPELINE}    volumes: ['./none:/one', './none:/two', /anonymous]\n"
        "  db: {image: postgres, volumes: ['./none:/var/lib/one', './none:/var/lib/two']}\n",
        missing=[str(tmp_path / "none")],
    )
    found = {**mounted(made, "worker"), **mounted(made, "db")}
    places = ("/one", "/two", "/var/lib/one", "/var/lib/two")
    assert {found[place] for place in places} == {("volume", "chaoskit-bind-db-0", False)}
    assert found["/anonymous"] == ("volume", "chaoskit-volume-worker-2", False)
    assert len(made.notes) == 1
