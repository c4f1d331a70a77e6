"""A page of headings, text, tables and pictures, as Markdown or as one HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below `head`. `right` are the columns with figures; `marks` colour rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[int] = frozenset()
    marks: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file beside the page, and what it shows."""

    path: Path
    text: str


Block = Heading | Text | Table | Picture

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
  color: #1f2430; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid #dfe2e8; text-align: left;
  vertical-align: top; }
th { border-bottom-width: 2px; } .right { text-align: right; font-variant-numeric: tabular-nums; }
tr.met td:first-child { border-left: 4px solid #2e8b57; }
tr.missed td:first-child { border-left: 4px solid #c0392b; }
tr.reported td:first-child { border-left: 4px solid #9aa3b2; }
img { max-width: 100%; }
"""


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The page; pictures are named as files beside it."""
    return "\n\n".join([f"# {title}", *map(_markdown, blocks)]) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page in one file, pictures included. Raises OSError where one is missing."""
    body = "\n".join(map(_html, blocks))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {text}"
        case Text(text):
            return text
        case Picture(path, text):
            return f"![{text}]({path.name})"
        case Table(head, rows, right):
            rule = ["--:" if column in right else "---" for column in range(len(head))]
            lines = [head, rule, *([_cell(cell) for cell in row] for row in rows)]
            return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Text(text):
            return f"<p>{html.escape(text)}</p>"
        case Picture(path, text):
            data = base64.b64encode(path.read_bytes()).decode()
            return f'<p><img src="data:image/png;base64,{data}" alt="{html.escape(text)}"></p>'
        case Table(head, rows, right, marks):
            lines = [_html_row("th", head, right, "")]
            for place, row in enumerate(rows):
                lines.append(_html_row("td", row, right, marks[place] if marks else ""))
            return "<table>\n" + "\n".join(lines) + "\n</table>"


def _html_row(tag: str, cells: Sequence[str], right: frozenset[int], mark: str) -> str:
    made = []
    for column, cell in enumerate(cells):
        kind = ' class="right"' if column in right else ""
        text = html.escape(cell).replace("\n", "<br>")
        made.append(f"<{tag}{kind}>{text}</{tag}>")
    return f'<tr class="{mark}">' + "".join(made) + "</tr>"
