"""The GPU images can be installed: the extra resolves under the pinned versions. Nothing is downloaded but metadata."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_gpu_extra_resolves_to_one_tensorflow_with_its_cuda_libraries(tmp_path):
    wanted = subprocess.run(
        [sys.executable, "deploy/requirements.py", "trainer", "generator", "gpu"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (tmp_path / "needed.txt").write_text(wanted.stdout)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
            "--requirement", tmp_path / "needed.txt", "--constraint", ROOT / "deploy" / "constraints.txt",
            "--report", tmp_path / "report.json",
        ],
        check=True, timeout=240,
    )  # fmt: skip

    installed = json.loads((tmp_path / "report.json").read_text())["install"]
    versions = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in installed}

    assert versions["tensorflow"].startswith("2.21.")
    assert "tensorflow-cpu" not in versions and "tensorflow_cpu" not in versions
    assert any(name.startswith("nvidia-cudnn") for name in versions)
    pinned = (ROOT / "deploy" / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    assert [n for n, v in versions.items() if f"{n.replace('_', '-')}=={v}" not in pinned] == []
