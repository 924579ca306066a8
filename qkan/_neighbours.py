"""Detects the distribution named `qkan`, which installs into the same folder as this package."""

import warnings
from importlib.metadata import PackageNotFoundError, version

__all__ = ["warn_of_peer"]


def warn_of_peer() -> None:
    """Warn if the distribution `qkan` is installed too: both write the folder `qkan`, and the last one wins.

    Raises:
        RuntimeWarning: as a warning, with the commands that mend it.
    """
    try:
        found = version("qkan")
    except PackageNotFoundError:
        return
    warnings.warn(
        f"the distribution 'qkan' {found} is installed beside 'qkan-torch': both write the folder qkan, and files of "
        "one replace files of the other. Keep one: pip uninstall -y qkan qkan-torch && pip install qkan-torch",
        RuntimeWarning,
        stacklevel=3,
    )
