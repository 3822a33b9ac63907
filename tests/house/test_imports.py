"""Which way imports point, and that the light services stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = {"corpus", "tokenizer", "trainer", "generator"}
# What each package of services/ may import from services/, itself apart.
ALLOWED = {
    "common": set(),
    "blog": {"common"},
    "tokens": {"common"},
    "sampling": {"common"},
    "gpt2": {"common"},
    "litert": {"common", "gpt2"},
    "corpus": {"common", "blog"},
    "tokenizer": {"common", "tokens"},
    "trainer": {"common", "tokens", "sampling", "gpt2", "litert"},
    "generator": {"common", "blog", "tokens", "sampling", "gpt2", "litert"},
    "client": {"common", "blog"},
    "admin": {"common", "blog", "client"},
}
COMMON_FOR_PURE = {f"services.common.{name}" for name in ("child", "errors", "files", "sources")}
PURE = {"blog", "tokens", "sampling", "gpt2", "litert"}


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_of(package: str) -> list[Path]:
    found = sorted((ROOT / "services" / package).rglob("*.py"))
    assert found, f"services/{package} holds no module"
    return found


def test_every_package_is_listed_here():
    packages = {path.parent.name for path in (ROOT / "services").glob("*/__init__.py")}
    assert packages == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules_of(package)
        for name in imports_of(path)
        if name.startswith("services.") and name.split(".")[1] not in ALLOWED[package] | {package, "__version__"}
    ]
    assert not wrong


@pytest.mark.parametrize("package", sorted(PURE))
def test_shared_packages_know_neither_grpc_nor_protos_nor_settings(package):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules_of(package)
        for name in imports_of(path)
        if name.split(".")[0] in {"grpc", "protos"}
        or (name.startswith("services.common.") and ".".join(name.split(".")[:3]) not in COMMON_FOR_PURE)
    ]
    assert not wrong


def test_serving_on_litert_loads_no_tensorflow():
    program = (
        "import sys, services.generator.litert_engine, services.litert.convert, services.litert.verified\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_only_the_edge_of_a_service_knows_the_wire(service):
    edge = {"__main__.py", "servicer.py", "messages.py", "peers.py", "streams.py", "upload.py"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules_of(service)
        if path.name not in edge and not path.name.endswith(("_rpcs.py", "_messages.py"))
        for name in imports_of(path)
        if name.split(".")[0] in {"grpc", "protos"}
    ]
    assert not wrong


def test_only_entry_points_and_settings_read_the_environment():
    readers = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "services").rglob("*.py"))
        if "os.environ" in path.read_text(encoding="utf-8") and path.name not in {"__main__.py", "settings.py"}
    ]
    assert readers == []


@pytest.mark.parametrize("service", ["corpus", "tokenizer", "client", "admin"])
def test_light_services_load_no_tensorflow(service):
    heavy = {"tensorflow", "torch"} | ({"numpy"} if service in {"client", "admin"} else set())
    program = (
        f"import importlib, pkgutil, sys, services.{service} as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        f"loaded = {heavy!r} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
