"""A JUnit file held against junit.xsd. Knows as much of XML Schema as that file uses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

XS = "{http://www.w3.org/2001/XMLSchema}"

TYPES = {
    "xs:string": r"(?s).*",
    "xs:nonNegativeInteger": r"\d+",
    "xs:decimal": r"-?\d+(\.\d+)?",
    "xs:dateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?",
}

SCHEMA = {e.get("name", ""): e for e in ElementTree.parse(Path(__file__).with_name("junit.xsd")).getroot()}

OUTCOMES = ("failure", "error", "skipped")


def validated(text: str | bytes) -> Element:
    """The root; an AssertionError lists what the schema does not allow, and sums that do not add up."""
    root = ElementTree.fromstring(text)
    assert [*_problems(root)] == []
    assert [*_sums(root)] == []
    return root


def counts(root: Element) -> Counter[str]:
    """How many tests passed, and how many had each outcome."""
    return Counter(
        next((o for o in OUTCOMES if case.find(o) is not None), "passed") for case in root.iter("testcase")
    )


def _problems(element: Element) -> Iterator[str]:
    if element.tag not in SCHEMA:
        yield f"unknown element {element.tag}"
        return
    kind = SCHEMA[element.tag].find(f"{XS}complexType")
    assert kind is not None
    yield from _attributes(element, kind)
    yield from _children(element, kind)
    if kind.get("mixed") != "true" and "".join([element.text or "", *(c.tail or "" for c in element)]).strip():
        yield f"text in {element.tag}"
    for child in element:
        yield from _problems(child)


def _attributes(element: Element, kind: Element) -> Iterator[str]:
    allowed = {a.get("name"): a for a in kind.iter(f"{XS}attribute")}
    for name, attribute in allowed.items():
        value = element.get(name or "")
        if value is None and attribute.get("use") == "required":
            yield f"{element.tag} without {name}"
        elif value is not None and not re.fullmatch(TYPES[attribute.get("type", "")], value):
            yield f"{element.tag}: {name}={value!r} is no {attribute.get('type')}"
    yield from (f"{element.tag}: unknown attribute {name}" for name in element.attrib if name not in allowed)


def _children(element: Element, kind: Element) -> Iterator[str]:
    """A sequence as a pattern over the names of the children."""
    pattern = ""
    for part in kind.iter(f"{XS}element"):
        least, most = part.get("minOccurs", "1"), part.get("maxOccurs", "1")
        pattern += f"(<{part.get('ref')}>){{{least},{'' if most == 'unbounded' else most}}}"
    names = "".join(f"<{child.tag}>" for child in element)
    if not re.fullmatch(pattern, names):
        yield f"{element.tag} holds {names or 'nothing'}"


def _sums(root: Element) -> Iterator[str]:
    for suite in root.iter("testsuite"):
        found = counts(suite)
        said = {o: int(suite.get(a, "")) for o, a in (("failure", "failures"), ("error", "errors"), ("skipped",) * 2)}
        if int(suite.get("tests", "")) != found.total() or any(found[o] != number for o, number in said.items()):
            yield f"{suite.get('name')} says {said}, and holds {dict(found)}"
