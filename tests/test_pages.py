"""The examples of the pages in docs/ run, the one for CUDA where there is a GPU; links lead to files."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
EXAMPLE = re.compile(r"(<!-- needs CUDA -->\n)?```python\n(.*?)```", re.DOTALL)
LINKS = sorted({(name, link) for name, page in PAGES.items() for link in re.findall(r"\]\((\S+?)\)", page)})


def _examples(name):
    return EXAMPLE.findall(PAGES[name])


@pytest.mark.parametrize(("cuda", "code"), _examples("performance.md"))
def test_examples_of_the_page_of_speed_run(cuda, code):
    example = compile(code, "docs/performance.md", "exec")
    if cuda and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch._dynamo.reset()
    exec(example, {})


def test_there_is_one_example_for_cuda():
    assert [bool(cuda) for cuda, _ in _examples("performance.md")].count(True) == 1


def test_the_examples_of_the_page_of_tools_run_one_after_the_other(capsys):
    names = {}
    for _, code in _examples("tools.md"):
        exec(compile(code, "docs/tools.md", "exec"), names)
    assert names["history"].last["test_loss"] < 0.1
    assert names["found"].expressions
    assert "nan" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "target"), LINKS)
def test_links_lead_to_files(name, target):
    if not target.startswith("http"):
        assert ((DOCS / name).parent / target.split("#")[0]).exists()
