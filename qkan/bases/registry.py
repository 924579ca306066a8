"""The families by name."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from qkan.bases.base import Basis, EdgewiseBasis, Factory
from qkan.bases.bernstein import Bernstein
from qkan.bases.harmonics import FourierBasis
from qkan.bases.polynomials import Chebyshev, Gram, Jacobi, Legendre
from qkan.bases.rbf import RBF
from qkan.bases.relu import ReLUBumps
from qkan.bases.splines import BSpline
from qkan.bases.wavelets import DoG, MexicanHat, Meyer, Morlet, Shannon

__all__ = ["build", "names"]

_FAMILIES: dict[str, type[Basis] | type[EdgewiseBasis]] = {
    family.name: family
    for family in (
        *(BSpline, RBF, Chebyshev, Legendre, Gram, Jacobi, Bernstein, FourierBasis, ReLUBumps),
        *(MexicanHat, Morlet, DoG, Meyer, Shannon),
    )
}
_WIDTHS = ("in_features", "out_features")


def names() -> tuple[str, ...]:
    """Return the names of all families.

    >>> names()[:3]
    ('bspline', 'rbf', 'chebyshev')
    """
    return tuple(_FAMILIES)


def build(
    basis: str | type[Basis] | type[EdgewiseBasis] | Basis | EdgewiseBasis,
    in_features: int,
    out_features: int | None = None,
    **keywords: Any,
) -> Basis | EdgewiseBasis:
    """Return a basis for these widths.

    Args:
        basis: name of a family, class, or a basis of these widths, which is returned as it is.
        in_features: number of inputs.
        out_features: number of outputs, for families with a function per edge; others do not need it.
        **keywords: those of the family, and ``device``, ``dtype``, ``generator``.

    Raises:
        ValueError: for an unknown name, other widths than those of a basis that is given, or no out_features.
        TypeError: for a keyword that the family does not have, with the nearest that it has, or for no basis at all.

    Example:
        >>> build("chebyshev", 4, degree=5)
        Chebyshev(
          in_features=4, degree=5, map='tanh'
          (mapping): Map('tanh')
        )
    """
    if isinstance(basis, Basis | EdgewiseBasis):
        return _given(basis, in_features, out_features, keywords)
    family = _family(basis)
    _check_keywords(family, keywords)
    if issubclass(family, Basis):
        return family(in_features, **keywords)
    if out_features is None:
        raise ValueError(f"out_features must be given for the basis {family.name!r}, a function per edge; got None")
    return family(in_features, out_features, **keywords)


def _given(
    basis: Basis | EdgewiseBasis, in_features: int, out_features: int | None, keywords: dict[str, Any]
) -> Basis | EdgewiseBasis:
    if keywords:
        raise TypeError(f"a basis that is built takes no keywords; got {', '.join(keywords)}; build it with them")
    has = basis.in_features, basis.out_features if isinstance(basis, EdgewiseBasis) else out_features
    if has != (in_features, out_features):
        raise ValueError(f"basis must have the widths {(in_features, out_features)}; got one of {has}")
    return basis


def _family(basis: Any) -> type[Basis] | type[EdgewiseBasis]:
    if isinstance(basis, type) and issubclass(basis, Basis | EdgewiseBasis):
        return basis
    if not isinstance(basis, str):
        raise TypeError(f"basis must be a name, a class of bases or a basis; got {basis!r}")
    if basis not in _FAMILIES:
        hint = _hint(basis, _FAMILIES)
        raise ValueError(f"there is no basis {basis!r}; {hint}bases are {', '.join(_FAMILIES)}")
    return _FAMILIES[basis]


def _check_keywords(family: type[Basis] | type[EdgewiseBasis], keywords: Iterable[str]) -> None:
    parameters = inspect.signature(family).parameters.values()
    known = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in _WIDTHS]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        known += Factory.__annotations__
    for name in keywords:
        if name not in known:
            raise TypeError(
                f"basis {family.name!r} got an unexpected keyword {name!r}; {_hint(name, known)}"
                f"it takes {', '.join(known)}"
            )


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""
