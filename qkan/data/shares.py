"""Which rows of a batch belong to which of several processes."""

__all__ = ["share"]


def share(rows: int, rank: int, world: int) -> range:
    """Return the rows of a batch that one of several processes works on: parts in order that differ by one at most.

    Example:
        >>> [list(share(5, rank, 3)) for rank in range(3)]
        [[0, 1], [2, 3], [4]]
    """
    each, more = divmod(rows, world)
    start = rank * each + min(rank, more)
    return range(start, start + each + (rank < more))
