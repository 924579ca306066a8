"""KAN convolutions of polynomials."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

from qkan.layers.published.base import Published, Size
from qkan.layers.skeleton import NormLayer

__all__ = [
    "KALNConv1DLayer", "KALNConv2DLayer", "KALNConv3DLayer",
    "KACNConv1DLayer", "KACNConv2DLayer", "KACNConv3DLayer",
    "KAGNConv1DLayer", "KAGNConv2DLayer", "KAGNConv3DLayer",
    "KAJNConv1DLayer", "KAJNConv2DLayer", "KAJNConv3DLayer",
    "KABNConv1DLayer", "KABNConv2DLayer", "KABNConv3DLayer",
]  # fmt: skip


class _Polynomial(Published):
    """What the layers of polynomials share; abstract."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        kernel_size: Size,
        degree: int = 3,
        groups: int = 1,
        padding: Size = 0,
        stride: Size = 1,
        dilation: Size = 1,
        dropout: float = 0.0,
        norm_layer: NormLayer = "instance",
        **norm_kwargs: Any,
    ) -> None:
        self._build(
            *(input_dim, output_dim, kernel_size), norm_layer=norm_layer, norm_kwargs=norm_kwargs, dropout=dropout,
            groups=groups, padding=padding, stride=stride, dilation=dilation, degree=degree,
        )  # fmt: skip


class _KALN(_Polynomial):
    """Documented with `KALNConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {
        "basis": "legendre",
        "base_activation": "identity",
        "activation": "silu",
        "dropout_of": "mapped",
    }


class _KACN(_Polynomial):
    """Documented with `KACNConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {"basis": "chebyshev", "base_activation": None}


class _KAGN(_Polynomial):
    """Documented with `KAGNConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {
        "basis": "gram",
        "compat": "torch-conv-kan",
        "activation": "silu",
        "dropout_of": "mapped",
    }


class _KAJN(_Polynomial):
    """Documented with `KAJNConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {
        "basis": "jacobi",
        "base_activation": "identity",
        "activation": "silu",
        "dropout_of": "features",
    }
    more = ("a", "b")


class _KABN(_Polynomial):
    """Documented with `KABNConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {
        "basis": "bernstein",
        "base_activation": "identity",
        "activation": "silu",
        "dropout_of": "mapped",
    }


@final
class KALNConv1DLayer(_KALN):
    """Convolve sequences; all as in `KALNConv2DLayer`."""

    dims = 1


@final
class KALNConv2DLayer(_KALN):
    """SiLU(norm(conv(x) + conv(P(tanh x)))), P Legendre polynomials; dropout is of tanh x."""

    dims = 2


@final
class KALNConv3DLayer(_KALN):
    """Convolve volumes; all as in `KALNConv2DLayer`."""

    dims = 3


@final
class KACNConv1DLayer(_KACN):
    """Convolve sequences; all as in `KACNConv2DLayer`."""

    dims = 1


@final
class KACNConv2DLayer(_KACN):
    """norm(conv(T(tanh x))), T Chebyshev polynomials; dropout is of the result."""

    dims = 2


@final
class KACNConv3DLayer(_KACN):
    """Convolve volumes; all as in `KACNConv2DLayer`."""

    dims = 3


@final
class KAGNConv1DLayer(_KAGN):
    """Convolve sequences; all as in `KAGNConv2DLayer`."""

    dims = 1


@final
class KAGNConv2DLayer(_KAGN):
    """SiLU(norm(conv(SiLU x) + conv(SiLU(Q(tanh x))))), Q polynomials; dropout is of tanh x.

    Q are those that the package calls Gram, with trained coefficients; they start near powers of tanh x. See
    `qkan.bases.Gram`.
    """

    dims = 2


@final
class KAGNConv3DLayer(_KAGN):
    """Convolve volumes; all as in `KAGNConv2DLayer`."""

    dims = 3


@final
class KAJNConv1DLayer(_KAJN):
    """Convolve sequences; all as in `KAJNConv2DLayer`."""

    dims = 1


@final
class KAJNConv2DLayer(_KAJN):
    """SiLU(norm(conv(x) + conv(J(tanh x)))), J Jacobi polynomials; dropout is of every function by itself.

    Further keywords are ``a=1.0`` and ``b=1.0``, the exponents.
    """

    dims = 2


@final
class KAJNConv3DLayer(_KAJN):
    """Convolve volumes; all as in `KAJNConv2DLayer`."""

    dims = 3


@final
class KABNConv1DLayer(_KABN):
    """Convolve sequences; all as in `KABNConv2DLayer`."""

    dims = 1


@final
class KABNConv2DLayer(_KABN):
    """SiLU(norm(conv(x) + conv(B(sigmoid x)))), B Bernstein polynomials; dropout is of sigmoid x."""

    dims = 2


@final
class KABNConv3DLayer(_KABN):
    """Convolve volumes; all as in `KABNConv2DLayer`."""

    dims = 3
