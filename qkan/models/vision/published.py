"""The networks of torch-conv-kan under their published names: thin functions over the classes of this folder.

Every function takes the numbers of input channels and of classes, `width_scale`, `affine` (whether norms have trained
factors and shifts), ``norm_layer``, ``groups``, ``dropout``, ``degree`` or ``grid_size``, and all else that its class
and its convolutions take. Published arguments that belong to training, such as ``l1_decay``, are left out. Networks of
the same configuration have the published number of parameters, but for those with experts, whose gates see other
inputs there, and for the tiny dense networks, which have a linear output here.

The names end in how the image is taken in: ``x32p``: a 3x3 stem; ``x64p``: and max-pooling; nothing: a 7x7 stem of
stride 2 and max-pooling.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from qkan.layers.published import (
    FastKANConv2DLayer,
    KACNConv2DLayer,
    KAGNConv2DLayer,
    KALNConv2DLayer,
    KANConv2DLayer,
    WavKANConv2DLayer,
)
from qkan.models.vision.densenet import DenseKANet
from qkan.models.vision.resnet import ResKANet
from qkan.models.vision.u2net import LARGE, SMALL, U2KANet
from qkan.models.vision.unet import UKANet
from qkan.models.vision.vgg import VGGKAN

__all__ = [
    "FAMILIES",
    "reskanet_18x32p", "fast_reskanet_18x32p", "reskacnet_18x32p",
    "reskalnet_18x32p", "reskalnet_18x64p", "reskalnet_50x64p",
    "reskalnet_101x32p", "reskalnet_101x64p", "reskalnet_152x32p", "reskalnet_152x64p",
    "reskagnet_18x32p", "reskagnet_34x32p", "reskagnet_101x64p",
    "reskagnet18", "reskagnet50", "reskagnet101", "reskagnet152", "reskagnet_bn50",
    "reskagnetbn_18x32p", "reskagnetbn_34x32p", "reskagnetbn_moe_18x32p", "reskagnetbn_moe_34x32p",
    "moe_reskalnet_18x64p", "moe_reskalnet_50x64p", "moe_reskalnet_101x64p", "moe_reskalnet_152x64p",
    "densekanet121", "densekacnet121", "fast_densekanet121",
    "densekalnet121", "densekalnet161", "densekalnet169", "densekalnet201",
    "densekagnet121", "densekagnet161", "densekagnet169", "densekagnet201", "densekagnet121bn", "densekagnet121moebn",
    "tiny_densekanet", "tiny_fast_densekanet", "tiny_densekalnet", "tiny_densekagnet", "tiny_densekagnet_bn",
    "tiny_densekagnet_moebn", "tiny_densekacnet",
    "vggkan", "fast_vggkan", "vggkaln", "vggkacn", "vggkagn", "vggkagn_bn", "moe_vggkagn", "moe_vggkagn_bn",
    "vgg_wav_kan",
    "ukanet_18", "fast_ukanet_18", "ukalnet_18", "ukacnet_18", "ukagnet_18", "ukagnetnb_18",
    "u2kagnet", "u2kagnet_bn", "u2kalnet", "u2kacnet", "u2kanet", "fast_u2kanet", "u2net",
    "u2kagnet_small", "u2kagnet_bn_small", "u2kalnet_small", "u2kacnet_small", "u2kanet_small", "fast_u2kanet_small",
    "u2net_small",
]  # fmt: skip

Builder = Callable[..., nn.Module]

_COMMON = {"norm_layer": "instance", "padding_of": "features"}
_KAGN = _COMMON | dict(KAGNConv2DLayer.family)
_EXPERTS = {"experts": 8, "chosen": 2}

FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "kan": _COMMON | dict(KANConv2DLayer.family) | {"base_activation": "gelu"},
    # Five Gaussians on a narrower grid than the layer's own default, and GELU.
    "fast_kan": _COMMON
    | dict(FastKANConv2DLayer.family)
    | {"base_activation": "gelu", "num_grids": 5, "grid_range": (-1.0, 1.0)},
    "kaln": _COMMON | dict(KALNConv2DLayer.family),
    "kacn": _COMMON | dict(KACNConv2DLayer.family),
    "kagn": _KAGN,
    "kagn_bn": _KAGN | {"bottleneck": True, "dropout_of": "input"},
    "wav_kan": _COMMON | dict(WavKANConv2DLayer.family) | {"basis": "mexican_hat", "norm_layer": "batch"},
    "plain": {"basis": "plain", "bias": True},
}
"""What every published kind of convolution fixes, as keywords of `Convolutions`."""


def _convolutions(family: str, affine: bool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of the convolutions, those that are given first."""
    renamed = {"num_grids" if family == "fast_kan" and name == "grid_size" else name: v for name, v in given.items()}
    merged = {**FAMILIES[family], **renamed}
    return merged if merged.get("norm_layer") is None else {"norm_options": {"affine": affine}} | merged


def _builder(network: Callable[..., nn.Module], family: str, affine: bool = False, **fixed: Any) -> Builder:
    """Return a function of the numbers of channels and classes; what `fixed` says can be overridden."""
    usual_affine = affine

    def build(input_channels: int, num_classes: int, *, affine: bool = usual_affine, **keywords: Any) -> nn.Module:
        return network(in_channels=input_channels, classes=num_classes,
                       **_convolutions(family, affine, fixed | keywords))  # fmt: skip

    return build


def _res(family: str, depth: int, pixels: int | None = None, **fixed: Any) -> Builder:
    stem = {} if pixels is None else {"stem_kernel": 3, "stem_stride": 1, "pool": pixels == 64}
    return _builder(ResKANet, family, depth=depth, **{"dropout_linear": 0.25, **stem, **fixed})


def _dense(family: str, depth: int | str, **fixed: Any) -> Builder:
    return _builder(DenseKANet, family, affine=True, depth=depth, **fixed)


def _vgg(family: str, **fixed: Any) -> Builder:
    """Return the builder of a network of 7 x 7 pixels before the output; ``vgg_type`` is ``"VGG16v2"`` and so on."""

    def network(vgg_type: str = "VGG11", **keywords: Any) -> nn.Module:
        depth, _, version = vgg_type.removeprefix("VGG").partition("v")
        if not depth.isdigit():
            raise ValueError(f"vgg_type must be 'VGG11', 'VGG11v2' and so on; got {vgg_type!r}")
        return VGGKAN(int(depth), version=f"v{version}" if version else "base", **keywords)

    return _builder(network, family, **{"dropout_linear": 0.25, "pooled": 7, **fixed})


def _u2(family: str, small: bool = False) -> Builder:
    return _builder(U2KANet, family, affine=True, stages=SMALL if small else LARGE, sides=True)


reskanet_18x32p = _res("kan", 18, 32)
fast_reskanet_18x32p = _res("fast_kan", 18, 32)
reskacnet_18x32p = _res("kacn", 18, 32)
reskalnet_18x32p = _res("kaln", 18, 32)
reskalnet_18x64p = _res("kaln", 18, 64)
reskalnet_50x64p = _res("kaln", 50, 64)
reskalnet_101x32p = _res("kaln", 101, 32)
reskalnet_101x64p = _res("kaln", 101, 64)
reskalnet_152x32p = _res("kaln", 152, 32)
reskalnet_152x64p = _res("kaln", 152, 64)
reskagnet_18x32p = _res("kagn", 18, 32)
reskagnet_34x32p = _res("kagn", 34, 32)
reskagnet_101x64p = _res("kagn", 101, 64)
reskagnet18 = _res("kagn", 18)
reskagnet50 = _res("kagn", 50)
reskagnet101 = _res("kagn", 101)
reskagnet152 = _res("kagn", 152)
reskagnet_bn50 = _res("kagn_bn", 50)
reskagnetbn_18x32p = _res("kagn_bn", 18, 32)
reskagnetbn_34x32p = _res("kagn_bn", 34, 32)
reskagnetbn_moe_18x32p = _res("kagn_bn", 18, 32, **_EXPERTS)
reskagnetbn_moe_34x32p = _res("kagn_bn", 34, 32, **_EXPERTS)
moe_reskalnet_18x64p = _res("kaln", 18, 64, **_EXPERTS)
moe_reskalnet_50x64p = _res("kaln", 50, 64, **_EXPERTS)
moe_reskalnet_101x64p = _res("kaln", 101, 64, **_EXPERTS)
moe_reskalnet_152x64p = _res("kaln", 152, 64, **_EXPERTS)

densekanet121 = _dense("kan", 121)
densekacnet121 = _dense("kacn", 121)
fast_densekanet121 = _dense("fast_kan", 121)
densekalnet121 = _dense("kaln", 121)
densekalnet161 = _dense("kaln", 161, stem_channels=64)
densekalnet169 = _dense("kaln", 169)
densekalnet201 = _dense("kaln", 201)
densekagnet121 = _dense("kagn", 121)
densekagnet161 = _dense("kagn", 161, stem_channels=64)
densekagnet169 = _dense("kagn", 169)
densekagnet201 = _dense("kagn", 201)
densekagnet121bn = _dense("kagn_bn", 121)
densekagnet121moebn = _dense("kagn_bn", 121, **_EXPERTS)
tiny_densekanet = _dense("kan", "tiny")
tiny_fast_densekanet = _dense("fast_kan", "tiny")
tiny_densekalnet = _dense("kaln", "tiny")
tiny_densekagnet = _dense("kagn", "tiny")
tiny_densekagnet_bn = _dense("kagn_bn", "tiny", norm_layer="batch")
tiny_densekagnet_moebn = _dense("kagn_bn", "tiny", norm_layer="batch", **_EXPERTS)
tiny_densekacnet = _dense("kacn", "tiny")

vggkan = _vgg("kan")
fast_vggkan = _vgg("fast_kan")
vggkaln = _vgg("kaln")
vggkacn = _vgg("kacn")
vggkagn = _vgg("kagn")
vggkagn_bn = _vgg("kagn_bn")
moe_vggkagn = _vgg("kagn", **_EXPERTS)
moe_vggkagn_bn = _vgg("kagn_bn", **_EXPERTS)
vgg_wav_kan = _vgg("wav_kan")

ukanet_18 = _builder(UKANet, "kan", affine=True)
fast_ukanet_18 = _builder(UKANet, "fast_kan", affine=True)
ukalnet_18 = _builder(UKANet, "kaln", affine=True)
ukacnet_18 = _builder(UKANet, "kacn", affine=True)
ukagnet_18 = _builder(UKANet, "kagn", affine=True)
ukagnetnb_18 = _builder(UKANet, "kagn_bn", affine=True)

u2kagnet, u2kagnet_small = _u2("kagn"), _u2("kagn", small=True)
u2kagnet_bn, u2kagnet_bn_small = _u2("kagn_bn"), _u2("kagn_bn", small=True)
u2kalnet, u2kalnet_small = _u2("kaln"), _u2("kaln", small=True)
u2kacnet, u2kacnet_small = _u2("kacn"), _u2("kacn", small=True)
u2kanet, u2kanet_small = _u2("kan"), _u2("kan", small=True)
fast_u2kanet, fast_u2kanet_small = _u2("fast_kan"), _u2("fast_kan", small=True)
u2net, u2net_small = _u2("plain"), _u2("plain", small=True)
