"""The wire contract keeps its own habits: everything commented, named as the style guide says."""

import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "protos").glob("*.proto"))
STATEMENT = re.compile(
    r"^\s*(?:service|message|enum|rpc|oneof)\s+\w+|^\s*(?:repeated |optional )?[\w.<>, ]+\s+\w+\s*=\s*\d+;"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_element_has_a_comment(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [
        f"{path.name}:{number + 1}: {line.strip()}"
        for number, line in enumerate(lines)
        if STATEMENT.match(line) and not lines[number - 1].strip().startswith("//")
    ]
    assert not bare


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_names_follow_the_style_guide(path):
    text = path.read_text(encoding="utf-8")
    name = path.stem
    assert f"package nonesuch.{name}.v1;" in text
    assert re.findall(r"^service (\w+)", text, re.M) == [f"{name.capitalize()}Service"]
    for rpc, request, response in re.findall(r"rpc (\w+)\((?:stream )?(\w+)\) returns \(((?:stream )?\w+)\)", text):
        shared = {"GenerateStream": "GenerateRequest"}
        assert request == shared.get(rpc, f"{rpc}Request"), rpc
        assert response.startswith("stream ") or response == f"{rpc}Response", rpc
    for enum, body in re.findall(r"^enum (\w+) \{(.*?)^\}", text, re.M | re.S):
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum).upper()
        values = re.findall(r"^\s*(\w+) = (\d+);", body, re.M)
        assert values[0] == (f"{prefix}_UNSPECIFIED", "0")
        assert all(value.startswith(prefix + "_") for value, _ in values)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_list_is_paginated(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"rpc (List\w+)\(\w+\) returns \(\w+\)", text):
        request = re.search(rf"message {name}Request \{{(.*?)^\}}", text, re.M | re.S)
        response = re.search(rf"message {name}Response \{{(.*?)^\}}", text, re.M | re.S)
        assert "page_size" in request[1] and "page_token" in request[1], name
        assert "next_page_token" in response[1], name
