"""The conformance features of the CloudEvents project, each step in plain Python."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.wire.cloudevents import CloudEvent, decode
from tests.support.shared import shared_data


@dataclass
class Scenario:
    """A scenario's steps: the sentence, then its text or its table."""

    steps: list[tuple[str, str, list[list[str]]]] = field(default_factory=list)
    examples: list[list[str]] = field(default_factory=list)

    def runs(self) -> Iterator["Scenario"]:
        """The scenario, or one for each row of its examples."""
        if not self.examples:
            yield self
        for row in self.examples[1:]:
            values = dict(zip(self.examples[0], row, strict=True))
            yield Scenario([_filled(step, values) for step in self.steps])


def _filled(step: tuple[str, str, list[list[str]]], values: Mapping[str, str]) -> Any:
    def fill(text: str) -> str:
        return re.sub(r"<(\w+)>", lambda found: values[found[1]], text)

    sentence, text, table = step
    return fill(sentence), fill(text), [[fill(cell) for cell in row] for row in table]


def scenarios_of(path: Path) -> Iterator[Scenario]:
    """As much of Gherkin as the features use: background, outlines, tables, texts."""
    background: list[Any] = []
    scenario: Scenario | None = None
    into: list[Any] = background
    lines = iter(path.read_text("utf-8").splitlines())
    in_examples = False
    for line in lines:
        bare = line.strip()
        if bare.startswith("Scenario"):
            if scenario:
                yield from scenario.runs()
            scenario, in_examples = Scenario([*background]), False
            into = scenario.steps
        elif bare.startswith("Examples:"):
            in_examples = True
        elif bare.startswith(("Given ", "When ", "Then ", "And ")):
            into.append((bare.partition(" ")[2], "", []))
        elif bare.startswith("|"):
            row = [cell.strip() for cell in bare.strip("|").split("|")]
            (scenario.examples if in_examples and scenario else into[-1][2]).append(row)
        elif bare == '"""':
            into[-1] = (into[-1][0], _text(lines), into[-1][2])
    if scenario:
        yield from scenario.runs()


def _text(lines: Iterator[str]) -> str:
    text = []
    for line in lines:
        if line.strip() == '"""':
            break
        text.append(line.removeprefix("    " * 2))
    return "\n".join(text)


class Bench:
    """What a scenario has in its hands: headers and payload, then the event read from them."""

    headers: list[tuple[str, bytes]]
    payload: bytes
    event: CloudEvent

    def take_payload(self, text: str, _: list[list[str]]) -> None:
        self.payload = text.encode()

    def take_headers(self, _: str, table: list[list[str]]) -> None:
        self.headers = [(key, value.encode()) for key, value in table[1:]]

    def take_request(self, text: str, _: list[list[str]]) -> None:
        head, body = text.split("\n\n", 1)
        pairs = [line.partition(": ") for line in head.splitlines()[1:]]
        self.headers = [(name.lower().replace("ce-", "ce_"), value.encode()) for name, _, value in pairs]
        self.payload = body.encode()

    def read(self, _: str, __: list[list[str]]) -> None:
        self.event = decode(self.headers, self.payload)

    def compare_attributes(self, _: str, table: list[list[str]]) -> None:
        assert self.event.attributes == dict(table[1:])

    def compare_data(self, text: str, _: list[list[str]]) -> None:
        assert self.event.data == json.loads(text)

    def nothing(self, _: str, __: list[list[str]]) -> None:
        """Both bindings are supported."""


STEPS: Final[Mapping[str, Callable[[Bench, str, list[list[str]]], None]]] = {
    "Kafka Protocol Binding is supported": Bench.nothing,
    "HTTP Protocol Binding is supported": Bench.nothing,
    "a Kafka message with payload:": Bench.take_payload,
    "Kafka headers:": Bench.take_headers,
    "an HTTP request": Bench.take_request,
    "parsed as Kafka message": Bench.read,
    "parsed as HTTP request": Bench.read,
    "the attributes are:": Bench.compare_attributes,
    "the data is equal to the following JSON:": Bench.compare_data,
}


@pytest.mark.parametrize(
    ("name", "scenarios", "steps"),
    [("kafka-protocol-binding.feature", 3, 18), ("http-protocol-binding.feature", 4, 20)],
)
def test_every_scenario_of_a_feature_holds(name: str, scenarios: int, steps: int) -> None:
    ran = list(scenarios_of(shared_data(f"cloudevents/{name}", cases=scenarios)))

    for scenario in ran:
        bench = Bench()
        for sentence, text, table in scenario.steps:
            STEPS[sentence](bench, text, table)

    assert (len(ran), sum(len(scenario.steps) for scenario in ran)) == (scenarios, steps)
