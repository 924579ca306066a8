"""The README runs: its examples here, its two commands in CI, which reads them from the same lines."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _command(name: str) -> str:
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```\n", README)
    assert found, f"README.md has no command {name!r} of one line"
    return found.group(1)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_examples_run(code):
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("name", ["job", "tests"])
def test_commands_install_extras_that_exist(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = re.search(r'"\.\[(.+?)\]"', _command(name))
    assert extras
    assert set(extras.group(1).split(",")) <= set(project["optional-dependencies"])


def test_ci_runs_both_commands():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f"readme_command {name}" in script for name in ("job", "tests"))


def test_base_install_is_small():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(re.match(r"[\w-]+", name).group() for name in project["dependencies"]) == ["numpy", "torch", "tqdm"]


def test_the_measured_table_is_that_of_the_committed_files():
    script = runpy.run_path(str(ROOT / "docs" / "readme.py"))
    assert script["MARKED"].search(README)
    assert script["written"](README) == README


def test_the_version_to_cite_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_extra_is_tried_with_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tried = runpy.run_path(str(ROOT / ".ci" / "extras.py"))["EXTRAS"]
    assert set(tried) == set(project["optional-dependencies"]) - {"all"}
