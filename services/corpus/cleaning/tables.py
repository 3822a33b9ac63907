"""Tables: rows of cells between pipes, laid out as Python-Markdown reads them.

GitHub's, with a rule below the head; kramdown's and Org's, with rules anywhere or none, drawn with `+` and `=`
too. Knows lines; what stands in the cells is not read here, but that code between backticks holds no borders.
"""

from __future__ import annotations

import re

_RULE = re.compile(r"^ {0,3}[|+]?[ \t]*[:=-][-:=+| \t]*$")
_TAGS = re.compile(r"^ *(?:\{%.*%\} *)+$")
_AFTER = re.compile(r"^ *\{[:.#]|^ {0,3}(?:#{1,6} |>|`{3}|~{3})")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_BORDER = re.compile(r"(?<!\\)\|")
_IN_CODE = "\ufdd7"  # a pipe that is no border; no character, so that no text holds it


def table(lines: list[str], index: int) -> tuple[list[str], int] | None:
    """The rows of the table that begins with a line, and where it ends; None if none begins.

    Takes time in proportion to the rows.
    """
    if not _begins(lines, index):
        return None
    rows: list[list[str]] = []
    while index < len(lines) and lines[index].strip() and not _AFTER.match(lines[index]):
        line = lines[index]
        if not _is_rule(line) and not _TAGS.match(line):
            rows.append(_cells(line))
        index += 1
    if not rows:
        return None
    width = max(len(cells) for cells in rows)
    laid_out = [f"| {' | '.join(cells + [''] * (width - len(cells)))} |" for cells in rows]
    return [laid_out[0], "|" + "---|" * width, *laid_out[1:]], index


def _begins(lines: list[str], index: int) -> bool:
    line = lines[index]
    following = lines[index + 1] if index + 1 < len(lines) else ""
    if _is_rule(following) and not _is_rule(line):
        return True
    return all(part.lstrip().startswith("|") and part.rstrip().endswith("|") for part in (line, following))


def _is_rule(line: str) -> bool:
    return ("|" in line or "+" in line) and _RULE.match(line) is not None


def _cells(line: str) -> list[str]:
    if "`" in line:
        line = _CODE.sub(lambda code: code[0].replace("\\|", "|").replace("|", _IN_CODE), line)
    row = line.strip().removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip().replace(_IN_CODE, "|") for cell in _BORDER.split(row)]
