"""Types of command-line arguments that several commands share."""

import argparse
import math

__all__ = ["encoding", "positive", "seed", "tolerance", "widths"]


def positive(text: str) -> int:
    """Return an integer of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1; got {text}")
    return int(text)


def seed(text: str) -> int:
    """Return an integer from 0 to 2^63 - 1."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 2^63 - 1; got {text}")
    return int(text)


def tolerance(text: str) -> float:
    """Return a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0; got {text}")
    return value


def encoding(text: str) -> str | tuple[int, ...]:
    """Return integers separated by commas, or else the text as a name."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        return text


def widths(text: str) -> list[int]:
    """Return integers separated by commas.

    Raises:
        ValueError: if they are not.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"widths must be integers separated by commas, such as 32,28; got {text}") from None
