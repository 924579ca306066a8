"""The examples of docs/performance.md run; the one for CUDA where there is a GPU, and it is Python everywhere."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
LINKS = set(re.findall(r"\]\((\S+?)\)", PAGE))
EXAMPLES = re.findall(r"(<!-- needs CUDA -->\n)?```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("cuda", "code"), EXAMPLES)
def test_examples_run(cuda, code):
    example = compile(code, "docs/performance.md", "exec")
    if cuda and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch._dynamo.reset()
    exec(example, {})


def test_there_is_one_example_for_cuda():
    assert [bool(cuda) for cuda, _ in EXAMPLES].count(True) == 1


@pytest.mark.parametrize("target", sorted(LINKS))
def test_links_lead_to_files(target):
    assert (ROOT / "docs" / target).exists()
