"""The JUnit XML keeps to the grammar that Jenkins and pytest check by: elements, attributes, time stamps."""

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import xmlschema

from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Coverage, Failed, Points, Report, Spot
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.report import junit

# Of each element: what may be in it, the attributes that it may have, and those that it must have.
GRAMMAR: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"properties", "testcase"},
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"name", "tests", "failures", "errors"},
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, {"name", "value"}),
    "testcase": ({"failure", "error", "skipped"}, {"name", "classname"}, {"name", "classname"}),
    "failure": (set(), {"message", "type"}, {"message", "type"}),
    "error": (set(), {"message", "type"}, {"message", "type"}),
    "skipped": (set(), {"message", "type"}, {"message"}),
}
TIME = re.compile(r"\d+(\.\d{1,3})?")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
HOSTILE = ["plain", "\x00\x1b\ufffe\udcff", '<a b="c">\'&]]></a>', "x" * 50_000, "\r\n\t", "\U0001f600\u202e"]


def report(text: str, **changes: Any) -> Report:
    fields: dict[str, Any] = {
        "chaoskit": text,
        "scenario": text,
        "runtime": text,
        "seed": 1,
        "parameters": {},
        "result": "fail",
        "exit_code": 1,
        "started": "2026-11-21T19:00:00Z",
        "duration_s": 1 / 3,
        "verdicts": (Verdict(text, "FAILURE", 1, text), Verdict("ok", "SUCCESS"), Verdict("", "MISSING")),
        "faults": (),
        "restarts": {},
        "replay": text,
        "run_dir": text,
        "findings": (Finding(text, ExitCode.FAILURE, text), Finding(text, ExitCode.ENVIRONMENT, text)),
        "logs": {text: [text]},
        "sentence": text,
    }
    return Report(**{**fields, **changes})


def exploration(text: str) -> Report:
    failed = Failed([text], (Verdict(text, "MISSING", 0, text),), text, "3 of 3", (text,), text, text, text)
    spots = tuple(Spot(f"p#{n}", 1, 1) for n in range(2500))
    rows = (Coverage("write", text, 2500, 2500, 2500, spots),)
    return report(text, points=Points(1, 1, 1), coverage=rows, failures=(failed, failed))


def check(element: ElementTree.Element) -> None:
    children, may, must = GRAMMAR[element.tag]
    assert {child.tag for child in element} <= children
    assert must <= set(element.attrib) <= may, (element.tag, set(element.attrib))
    if "time" in element.attrib:
        assert TIME.fullmatch(element.attrib["time"])
    if "timestamp" in element.attrib:
        assert STAMP.fullmatch(element.attrib["timestamp"])
    for child in element:
        check(child)


def count(suite: ElementTree.Element, tag: str) -> str:
    return str(sum(1 for case in suite if case.find(tag) is not None))


@pytest.mark.parametrize("make", [report, exploration])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_document_keeps_to_the_grammar_and_counts_right(make: Any, text: str) -> None:
    root = ElementTree.fromstring(junit.render(make(text)).encode())
    assert root.tag == "testsuites"
    check(root)
    (suite,) = root
    assert suite.attrib["tests"] == str(len(suite.findall("testcase")))
    for tag, attribute in {"failure": "failures", "error": "errors", "skipped": "skipped"}.items():
        assert suite.attrib[attribute] == count(suite, tag)
    assert all(case.attrib["name"] for case in suite.findall("testcase"))


@pytest.fixture(scope="session")
def pytests_own_schema() -> xmlschema.XMLSchema:
    """The schema by which pytest checks its own output; it is in pytest's source archive, and in none of its wheels."""
    path = os.environ.get("CHAOSKIT_JUNIT_SCHEMA")
    if path is None:
        pytest.skip("CHAOSKIT_JUNIT_SCHEMA names no copy of junit-10.xsd from pytest's source archive")
    return xmlschema.XMLSchema(Path(path))


@pytest.mark.parametrize("make", [report, exploration])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_document_keeps_to_the_schema_of_pytest(
    pytests_own_schema: xmlschema.XMLSchema, make: Any, text: str
) -> None:
    pytests_own_schema.validate(junit.render(make(text)))


def test_a_finding_against_the_pipeline_is_a_failure_and_one_against_the_machine_an_error() -> None:
    root = ElementTree.fromstring(junit.render(report("x")).encode())
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("5", "3", "1")
