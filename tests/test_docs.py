"""The pages in `docs/`: every Python block runs, and prints what the page says it prints.

The blocks of a page run in order, in one namespace and an empty folder. What a block prints is the
`text` block right below it; a block without one prints nothing. Of numbers with a point the last
digits may differ, and times (12 ms) may differ wholly.

Two conventions of the pages: a block marked `python needs=torch` runs where these libraries are
installed; each example in a table's column "Example" is a part of a block that runs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"
TABLES = {"api_coverage.md", "data_speed.md", "layer_speed.md"}  # measured, no guides
PAGES = sorted(path.name for path in DOCS.glob("*.md") if path.name not in TABLES)

FENCE = re.compile(r"^```python([^\n]*)\n(.*?)^```\n(?:\n?^```text\n(.*?)^```$)?", re.S | re.M)
TIME = re.compile(r"\b\d+(?:\.\d+)?(?:us|ms|s)\b")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?")


@dataclass(frozen=True)
class Block:
    """A Python block: its code, the line that it begins at, what it prints, what it imports."""

    code: str
    line: int
    printed: str
    needs: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def blocks(page: str) -> list[Block]:
    text, found = (DOCS / page).read_text(), []
    for fence in FENCE.finditer(text):
        mark, code, printed = fence.groups()
        needs = re.fullmatch(r"(?: needs=([\w,]+))?", mark)
        assert needs is not None, f"{page}: unknown mark {mark!r}"
        names = tuple((needs[1] or "").split(",")) if needs[1] else ()
        line = text.count("\n", 0, fence.start(2)) + 1
        found.append(Block(code, line, printed or "", names))
    return found


def run(block: Block, page: str, names: dict[str, Any]) -> str:
    """Runs a block and returns what it printed; tracebacks show the page's own lines."""
    code = compile("\n" * (block.line - 1) + block.code, str(DOCS / page), "exec")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, names)
    return out.getvalue()


def same(said: str, printed: str) -> bool:
    """Other processors add in another order, and are faster."""

    def words(text: str) -> list[str]:
        masked = NUMBER.sub("<number>", TIME.sub("<time>", text))
        return [line.rstrip() for line in masked.rstrip().splitlines()]

    def numbers(text: str) -> list[float]:
        return [float(v) for v in NUMBER.findall(TIME.sub("", text))]

    return words(said) == words(printed) and numbers(printed) == pytest.approx(
        numbers(said), rel=0.02, abs=0.002
    )


def run_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optional: bool) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
        monkeypatch.delitem(sys.modules, name)  # a page may give it a new sense
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block.needs and (not optional or block.missing):
            continue
        printed = run(block, page, names)
        if not same(block.printed, printed):
            both = f"the page says\n{block.printed}\nand the block prints\n{printed}"
            pytest.fail(f"docs/{page}, line {block.line}: {both}", pytrace=False)


@pytest.mark.parametrize("page", PAGES)
def test_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, tmp_path, monkeypatch, optional=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader")  # SQLAlchemy's, about MLflow
@pytest.mark.parametrize("page", [p for p in PAGES if any(b.needs for b in blocks(p))])
def test_page_runs_with_other_libraries(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are installed: importing them takes seconds."""
    run_page(page, tmp_path, monkeypatch, optional=True)


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_tables_are_run(page: str) -> None:
    code = "".join(block.code for block in blocks(page))
    column = None
    for line in (DOCS / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if "Example" in cells:
            column = cells.index("Example")
        elif not cells:
            column = None
        elif column is not None and "`" in cells[column]:
            example = cells[column].strip("`")
            assert example in code, f"docs/{page}: no block runs {example}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_and_pages_are_short(page: str) -> None:
    text = (DOCS / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (DOCS / target).exists(), target
    assert 60 <= len(text.splitlines()) <= 180
    code_and_prose = re.sub(r"^```text\n.*?^```$", "", text, flags=re.S | re.M)
    assert max(map(len, code_and_prose.splitlines())) <= 140


def test_pages_are_there() -> None:
    assert "index.md" in PAGES
    listed = re.findall(r"\]\((\w[\w-]*\.md)\)", (DOCS / "index.md").read_text())
    assert {*PAGES, *TABLES} == {*listed, "index.md"}


@pytest.mark.parametrize(
    ("said", "printed", "expected"),
    [
        ("loss: 0.5101 - 3 steps\n", "loss: 0.5102 - 3 steps", True),
        ("loss: 0.51\n", "loss: 0.57\n", False),
        ("3 steps\n", "4 steps\n", False),
        ("125/125 - 1.6s - 4.1ms/step\n", "125/125 - 800ms - 12ms/step\n", True),
        ("", "a\n", False),
    ],
)
def test_what_counts_as_the_same(said: str, printed: str, expected: bool) -> None:
    assert same(said, printed) is expected
