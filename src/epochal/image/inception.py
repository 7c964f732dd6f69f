"""InceptionV3 as Fréchet distances use it: the network of the TensorFlow release of 2015, in the layout of pytorch-fid's file.

It differs from the network of the paper where that release does: means leave out the padding, and the last block takes a maximum.
Weights are not part of this library, and are never downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from epochal import check

FILE = "pt_inception-2015-12-05-6726825d.pth"
VARIABLE = "EPOCHAL_INCEPTION_WEIGHTS"
FEATURES = (64, 192, 768, 2048)


class Convolution(nn.Module):
    """With batch normalisation, and without negative values."""

    def __init__(self, inputs: int, outputs: int, *size: int, stride: int = 1, padding: tuple[int, int] | int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (size[0], size[-1]), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x)).relu()
        return out


def mean_around(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(mean_around(x))], 1)


class B(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        wide: dict[str, Any] = {"padding": (0, 3)}
        high: dict[str, Any] = {"padding": (3, 0)}
        self.branch1x1 = Convolution(inputs, 192, 1)
        self.branch7x7_1 = Convolution(inputs, inner, 1)
        self.branch7x7_2 = Convolution(inner, inner, 1, 7, **wide)
        self.branch7x7_3 = Convolution(inner, 192, 7, 1, **high)
        self.branch7x7dbl_1 = Convolution(inputs, inner, 1)
        self.branch7x7dbl_2 = Convolution(inner, inner, 7, 1, **high)
        self.branch7x7dbl_3 = Convolution(inner, inner, 1, 7, **wide)
        self.branch7x7dbl_4 = Convolution(inner, inner, 7, 1, **high)
        self.branch7x7dbl_5 = Convolution(inner, 192, 1, 7, **wide)
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(mean_around(x))], 1)


class D(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(inputs, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, 1, 7, padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, 7, 1, padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    def __init__(self, inputs: int, takes_maximum: bool) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, 1, 3, padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, 3, 1, padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, 1, 3, padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, 3, 1, padding=(1, 0))
        self.branch_pool = Convolution(inputs, 192, 1)
        self.takes_maximum = takes_maximum

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        around = max_pool2d(x, 3, 1, 1) if self.takes_maximum else mean_around(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        return torch.cat([*parts, self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(around)], 1)


class InceptionV3(nn.Module):
    """Features ``(N, feature)`` of byte images ``(N, 3, H, W)``: means over the places of a layer.

    Args:
        feature: 64 after the first maximum, 192 after the second, 768 before the last grid, 2048 at the end.
        size: to which images are scaled, bilinearly.
        antialias: whether they are filtered where that makes them smaller.

    Source: C. Szegedy et al., Rethinking the Inception architecture for computer vision, 2016.
    """

    def __init__(self, feature: int = 2048, size: tuple[int, int] = (299, 299), antialias: bool = True) -> None:
        super().__init__()
        self.feature, self.size, self.antialias = feature, size, antialias
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = A(192, 32)
        self.Mixed_5c = A(256, 64)
        self.Mixed_5d = A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b = C(768, 128)
        self.Mixed_6c = C(768, 160)
        self.Mixed_6d = C(768, 160)
        self.Mixed_6e = C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b = E(1280, takes_maximum=False)
        self.Mixed_7c = E(2048, takes_maximum=True)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.to(self.Conv2d_1a_3x3.conv.weight.dtype)
        x = interpolate(x, self.size, mode="bilinear", align_corners=False, antialias=self.antialias)
        x = (x - 128) / 128  # as the release does with bytes
        x = max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        if self.feature > 64:
            x = max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        if self.feature > 192:
            x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
            x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        if self.feature > 768:
            x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))


def inception(
    metric: object, feature: int, path: str | os.PathLike[str] | None, size: tuple[int, int], antialias: bool
) -> InceptionV3:
    """The network with the weights of a file: of ``path``, of the environment's, or where pytorch-fid keeps its download."""
    kept = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    file = Path(path or os.environ.get(VARIABLE) or kept)
    if not file.is_file():
        came = f"there is no file {file}"
        fix = (
            f"Get {FILE} from the releases of github.com/mseitzer/pytorch-fid and pass feature_extractor_weights_path=, "
            f"or set {VARIABLE}; or pass a torch.nn.Module as feature."
        )
        raise FileNotFoundError(check.message(metric, came, f"feature={feature} needs the weights of InceptionV3", fix))
    network = InceptionV3(feature, size, antialias)
    load(metric, network, torch.load(file, map_location="cpu", weights_only=True), str(file))
    return network.eval()


def load(metric: object, network: nn.Module, weights: Any, source: str) -> None:
    """Load weights whose layout is the network's; those of the classifier behind it are left out."""
    wanted = network.state_dict()
    found = weights if isinstance(weights, Mapping) else {}
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - found.keys() - optional)
    other = [name for name in wanted.keys() & found.keys() if wanted[name].shape != found[name].shape]
    if missing or other:
        came = f"{source} has " + (f"no {missing[0]}" if missing else f"{other[0]} of shape {check.shape(found[other[0]])}")
        check.fail(metric, came, f"the layout of {FILE} is needed", f"{len(missing) + len(other)} entries do not fit.")
    network.load_state_dict({name: found.get(name, value) for name, value in wanted.items()})
