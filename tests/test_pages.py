"""The examples of the pages in docs/ run, those with a need where it is there; links lead to files."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Without what the build of the documentation writes beside them.
PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if path.relative_to(DOCS).parts[0] not in ("_build", "notebooks")
}
EXAMPLE = re.compile(r"(<!-- needs \w+ -->\n)?```python\n(.*?)```", re.DOTALL)
CODE = re.compile(r"```.*?```", re.DOTALL)
LINKS = sorted(
    {(name, link) for name, page in PAGES.items() for link in re.findall(r"\]\((\S+?)\)", CODE.sub("", page))}
)
# Pages whose examples run one after the other.
RUN = ("index.md", "ideas.md", "conventions.md", "choosing.md", "hybrid.md", "hardware.md", "family.md", "migrate.md")
ELSEWHERE = {"performance.md", "tools.md", "parallel.md", "models.md"}


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


@pytest.fixture(scope="module", params=RUN)
def page(request):
    """A page, and the names that its examples leave."""
    names = {"__name__": "page"}
    torch.manual_seed(0)
    for _, code in _examples(request.param):
        exec(compile(code, f"docs/{request.param}", "exec"), names)
    return request.param, names


def test_the_examples_of_a_page_run_one_after_the_other(page):
    name, names = page
    if name == "hybrid.md":
        assert names["found"]["top1"] > 0.5  # of ten classes
        assert names["history"].last["train_loss"] < 0.5 * names["history"]["train_loss"][0]
    if name == "migrate.md":
        assert names["history"].last["test_loss"] < 0.01


def test_no_example_is_left_out():
    assert {name for name in PAGES if _examples(name)} == {*RUN, *ELSEWHERE}


def test_the_examples_of_the_page_of_models_run_one_after_the_other():
    names = {}
    for needs, code in _examples("models.md"):
        if "transformers" in needs:
            pytest.importorskip("transformers")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            exec(compile(code, "docs/models.md", "exec"), names)
    assert names["narrow"].hidden_size == 128


@pytest.mark.parametrize(("name", "target"), LINKS)
def test_links_lead_to_files(name, target):
    if not target.startswith("http"):
        assert ((DOCS / name).parent / target.split("#")[0]).exists()
