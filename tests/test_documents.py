"""What the README and the examples show runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import securestream as ss

ROOT = Path(__file__).parent.parent
WITH_PUBLIC_NAMES = (
    "README.md",
    "docs/guide.md",
    "docs/secrets.md",
    "docs/profiles.md",
    "docs/router.md",
    "docs/post-quantum.md",
    "docs/scaling.md",
    "docs/using-with.md",
    "examples/rpc/README.md",
)
DAY = ROOT / "examples" / "operators_day.py"  # has a test of its own
EXAMPLES = sorted(set((ROOT / "examples").glob("[!_]*.py")) - {DAY})


def run(*arguments: str) -> str:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, cwd=ROOT).stdout


def first_program(text: str) -> str:
    found = re.search(r"```python\n(import trio.*?)```", text, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_readme_s_program_runs_as_pasted(tmp_path: Path) -> None:
    program = tmp_path / "hello.py"
    program.write_text(first_program((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
    assert run(str(program)) == "b'HELLO'\n"


def test_the_readme_s_program_has_25_lines_at_most() -> None:
    program = first_program((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len([line for line in program.splitlines() if line.strip()]) <= 25


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_example_runs(example: Path) -> None:
    assert run(str(example))


def test_a_failing_answer_shows_its_rows_and_then_the_alert() -> None:
    *rows, alert = run(str(ROOT / "examples" / "failing_answer.py")).splitlines()
    assert " ".join(rows).count("row") == 3
    assert alert == "and then: alert 5001: the backend went away"


def test_two_factors_are_both_known_to_the_server_and_its_certificate_to_the_client() -> None:
    assert run(str(ROOT / "examples" / "credentials.py")).splitlines() == [
        "the server: CN=orders.example",
        "hello alice on alice's laptop",
    ]


def test_an_operators_day_goes_through_every_step_and_loses_no_request() -> None:
    *steps, figures = run(str(DAY)).splitlines()
    starts = ["made keys", "authorised alice", "added bob", "replaced the shared secret", "replaced the server's key"]
    for step, start in zip(steps, [*starts, "took bob out", "ended the server"], strict=True):
        assert step.startswith(start)
    assert re.fullmatch(r"[1-9]\d+ requests were answered; \d+ had to be repeated", figures)


def test_no_document_has_two_versions_of_itself() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        marks = re.findall(r"^(?:<{7}|={7}|>{7})(?: .*)?$", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert marks == [], f"a merge was left unfinished in {document.name}"


def test_links_inside_the_documents_lead_somewhere() -> None:
    documents = [
        *ROOT.glob("*.md"),
        *(path for part in ("docs", "examples", "tests") for path in (ROOT / part).rglob("*.md")),
    ]
    for document in [path for path in documents if "node_modules" not in path.parts]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_public_name_that_the_documents_use_exists() -> None:
    for document in [ROOT / name for name in WITH_PUBLIC_NAMES]:
        for name in set(re.findall(r"\bss\.([A-Za-z_][A-Za-z_0-9]*)", document.read_text(encoding="utf-8"))):
            assert hasattr(ss, name), f"{document.name} has ss.{name}"
