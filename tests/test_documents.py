"""What the README and the examples show runs as it stands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

import securestream as ss

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(path for part in ("docs", "examples", "tests") for path in (ROOT / part).rglob("*.md")),
]
DOCUMENTS = sorted(path for path in DOCUMENTS if "node_modules" not in path.parts)
# Pages with programs that are complete, and what each program prints. The tutorial has a test of its own.
PRINTED = {
    "README.md": ["b'HELLO'\n"],
    "docs/existing-program.md": ["b'HELLO'\n", "b'HELLO'\n"],
    "docs/post-quantum.md": ["prefer True b'post-quantum'\noff False b'classical'\n"],
    "docs/rotating.md": ["b'welcome'\nb'welcome'\nsomebody else\n"],
}
TUTORIAL = ROOT / "docs" / "tutorial.md"
DAY = ROOT / "examples" / "operators_day.py"  # has a test of its own
TWO_SIDED = {ROOT / "examples" / f"{name}.py" for name in ("chat", "echo", "log_tail")}  # so have these
EXAMPLES = sorted(set((ROOT / "examples").glob("[!_]*.py")) - {DAY} - TWO_SIDED)


def run(*arguments: str) -> str:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, cwd=ROOT).stdout


def python_in(document: Path) -> list[str]:
    """The blocks of Python in a page."""
    text = document.read_text(encoding="utf-8")
    return [dedent(block) for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def programs_in(document: Path) -> list[str]:
    """Those that are complete."""
    return [block for block in python_in(document) if re.search(r"^trio\.run\(main\)$", block, re.MULTILINE)]


@pytest.mark.parametrize("page", PRINTED)
def test_the_programs_of_a_page_run_as_pasted(page: str, tmp_path: Path) -> None:
    printed = []
    for program in programs_in(ROOT / page):
        path = tmp_path / "program.py"
        path.write_text(program, encoding="utf-8")
        printed.append(run(str(path)))
    assert printed == PRINTED[page]


def test_no_page_has_a_program_that_is_not_run() -> None:
    assert {path for path in DOCUMENTS if programs_in(path)} == {TUTORIAL, *(ROOT / page for page in PRINTED)}


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if python_in(path)], ids=lambda path: path.name)
def test_what_is_marked_as_python_is_python(document: Path) -> None:
    for block in python_in(document):
        compile(block, document.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


def test_the_readme_s_program_runs_with_keys_from_files_as_pasted(tmp_path: Path) -> None:
    program, configurations, *_ = python_in(ROOT / "README.md")
    for name, example in (("server", "6HvG2FFN"), ("client", "aOa7jA2s")):
        key = ss.PrivateKey.generate()
        ss.write_key_file(tmp_path / f"{name}.key", key)
        configurations = re.sub(rf"{example}[\w+/]+=", str(key.public_key), configurations)
        configurations = configurations.replace(f'"{name}.key"', f'"{tmp_path / name}.key"')
    old = r"    server = ss.*\n    client = ss.*\n"
    assert re.search(old, program)
    path = tmp_path / "hello.py"
    path.write_text(re.sub(old, lambda _: indent(configurations, "    "), program), encoding="utf-8")
    assert run(str(path)) == "b'HELLO'\n"


def test_the_readme_s_program_has_25_lines_at_most() -> None:
    (program,) = programs_in(ROOT / "README.md")
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
    for document in DOCUMENTS:
        marks = re.findall(r"^(?:<{7}|={7}|>{7})(?: .*)?$", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert marks == [], f"a merge was left unfinished in {document.name}"


def test_links_inside_the_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_public_name_that_the_documents_use_exists() -> None:
    for document in DOCUMENTS:
        for name in set(re.findall(r"\bss\.([A-Za-z_][A-Za-z_0-9]*)", document.read_text(encoding="utf-8"))):
            assert hasattr(ss, name), f"{document.name} has ss.{name}"
