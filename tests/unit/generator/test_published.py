"""What stands on the volume, read from manifests and aliases."""

from __future__ import annotations

from pathlib import Path

from services.common.files import write_json
from services.generator.published import Key, read_aliases, scan


def test_what_has_no_manifest_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "owl" / "1").mkdir(parents=True)
    (tmp_path / ".partial-emu" / "1").mkdir(parents=True)
    write_json(tmp_path / ".partial-emu" / "1" / "manifest.json", {})
    write_json(tmp_path / "owl" / ".partial-2" / "manifest.json", {})
    for name in ("notes", "0", "01", "9" * 10):
        write_json(tmp_path / "owl" / name / "manifest.json", {})

    assert scan(tmp_path) == {}
    assert scan(tmp_path / "absent") == {}


def test_a_manifest_of_something_else_is_an_error_of_that_version(tmp_path: Path) -> None:
    write_json(tmp_path / "owl" / "1" / "manifest.json", [])
    (tmp_path / "owl" / "2").mkdir()
    (tmp_path / "owl" / "2" / "manifest.json").write_text("{")

    found = scan(tmp_path)

    assert "not a model's manifest" in found[Key("owl", 1)].error
    assert "not valid JSON" in found[Key("owl", 2)].error


def test_a_number_without_bounds_is_an_error_of_its_file(tmp_path: Path) -> None:
    manifest = tmp_path / "owl" / "1" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"kind": "model", "name": "owl", "version": 1e999}')
    (tmp_path / "owl" / ".aliases.json").write_text('{"stable": 1e999}')

    assert "not a model's manifest" in scan(tmp_path)[Key("owl", 1)].error
    found, wrong = read_aliases(tmp_path)
    assert found == {} and "does not hold aliases" in wrong["owl"]
