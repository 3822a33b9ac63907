"""Print what pyproject.toml's extras need, one requirement per line, for an image's dependency layer.

`python requirements.py corpus admin` gives the project's own dependencies and those of both extras, so that
dependencies can be installed before the source is copied.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
needed = dict.fromkeys(project["dependencies"])
for extra in sys.argv[1:]:
    needed.update(dict.fromkeys(project["optional-dependencies"][extra]))
print("\n".join(needed))
