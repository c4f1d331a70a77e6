"""Pages that no site builds: their links lead somewhere, and the README stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "sidecar/readme.md", "examples/rails_app/README.md"]
#: A Markdown link or picture; its target without a heading.
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
README_WORDS = 1200

if not (ROOT / "README.md").exists():
    pytest.skip("the checkout's pages are not beside these tests", allow_module_level=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_finds_it(page: str) -> None:
    path = ROOT / page

    targets = [t for t in LINK.findall(path.read_text()) if not t.startswith(("http", "mailto"))]

    assert [t for t in targets if not (path.parent / t).exists()] == []


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_WORDS


def test_what_was_found_names_tests_that_are_there() -> None:
    page = (ROOT / "tests" / "findings.md").read_text()

    named = set(re.findall(r"`((?:tests|sidecar|examples)/[\w/]+\.\w+)`", page))

    assert len(named) > 50
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
