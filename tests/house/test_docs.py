"""The documentation is true: the settings table, the map of the house, the verbs."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from services.common.settings import CommonSettings, variable_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEPLOY = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
SERVICES = ["corpus", "tokenizer", "trainer", "generator", "admin"]


def settings_of(service):
    if service == "common":
        return CommonSettings, "NONESUCH_"
    module = importlib.import_module(f"services.{service}.settings")
    return getattr(module, f"{service.capitalize()}Settings"), f"NONESUCH_{service.upper()}_"


@pytest.mark.parametrize("service", ["common", *SERVICES])
def test_the_settings_table_holds_every_setting_with_its_default_and_help(service):
    cls, prefix = settings_of(service)
    rows = [
        f"| `{variable}` | `{field.default}` | {field.metadata['help']} |"
        for variable, field in variable_names(cls, prefix).items()
    ]
    missing = [row for row in rows if row not in DEPLOY]
    assert not missing, "rows for deploy/README.md:\n" + "\n".join(missing)


def test_the_settings_table_holds_nothing_else():
    known = {variable for name in ["common", *SERVICES] for variable in variable_names(*settings_of(name))}
    written = set(re.findall(r"^\| `(NONESUCH_\w+)` \|", DEPLOY, re.M))
    assert written <= known


@pytest.mark.parametrize("service", ["common", *SERVICES])
def test_every_setting_says_what_it_is_for(service):
    cls, _ = settings_of(service)
    for field in dataclasses.fields(cls):
        assert field.metadata["help"].endswith("."), field.name


def test_the_map_names_every_folder_and_no_other():
    house = re.search(r"```\n(protos/.*?)```", README, re.S)[1]
    named = set(re.findall(r"^  (\w+)/", re.search(r"^services/.*?(?=^\w)", house, re.M | re.S)[0], re.M))
    there = {path.parent.name for path in (ROOT / "services").glob("*/__init__.py")}
    assert named == there


def test_every_verb_of_the_makefile_is_in_its_help():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", makefile, re.M)).split()
    helped = re.findall(r"^([a-z-]+):.*## ", makefile, re.M)
    assert set(phony) == set(helped)


def test_links_and_pictures_of_the_readme_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_no_file_names_a_path_of_one_machine():
    pattern = re.compile(r"(?<![\w.\-/])/(?:root|work)/")
    for path in [
        *ROOT.glob("services/**/*.py"),
        *ROOT.glob("deploy/**/*"),
        ROOT / "README.md",
        ROOT / "Makefile",
    ]:
        if path.is_file() and path.suffix not in {".png", ".pyc"}:
            assert not pattern.search(path.read_text(encoding="utf-8", errors="replace")), path
