"""A network whose output is finer than its input: features on the coarse grid, heads on the fine one."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from connectomics.networks.folded import unfold
from connectomics.roi import IntTriple


class SuperResolved(nn.Module):
    """Let a backbone see the input's own grid, and answer on a grid `factor` times finer.

    The backbone's last convolution gives the fine voxels' features as channels (sub-pixel convolution,
    doi:10.1109/CVPR.2016.207), so nearly all of the work is done on the coarse grid. Two convolutions on
    the fine grid turn them, together with the input interpolated linearly, into the heads: what the input
    shows already need not be learnt.

    Parameters
    ----------
    backbone
        (n, in, z, y, x) -> (n, features * product of factor, z, y, x).
    factor
        Output voxels per input voxel, zyx.
    in_channels, features, out_channels
        Channels of the input, of the fine grid's features, and of all heads together.
    """

    def __init__(
        self, backbone: nn.Module, factor: IntTriple, in_channels: int, features: int, out_channels: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.factor = factor
        self.mix = nn.Conv3d(features, features, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(features)
        self.output = nn.Conv3d(features + in_channels, out_channels, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(n, in, z, y, x) -> (n, out, z * fz, y * fy, x * fx)."""
        fine = functional.leaky_relu(unfold(self.backbone(image), self.factor), 0.01)
        fine = functional.leaky_relu(self.norm(self.mix(fine)), 0.01)
        scale = [float(f) for f in self.factor]
        shown: Any = functional.interpolate(image, scale_factor=scale, mode="trilinear", align_corners=False)
        answer: torch.Tensor = self.output(torch.cat((fine, shown), 1))
        return answer
