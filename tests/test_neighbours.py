"""The peer's distribution, which writes the same folder, is detected."""

import sys

import pytest

from qkan._neighbours import warn_of_peer


def test_an_installed_peer_is_told_with_the_remedy(tmp_path, monkeypatch):
    metadata = tmp_path / "qkan-0.2.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: qkan\nVersion: 0.2.3\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.warns(RuntimeWarning, match=r"'qkan' 0\.2\.3 is installed beside.*pip uninstall -y qkan qkan-torch"):
        warn_of_peer()


def test_without_it_nothing_is_said():
    warn_of_peer()
