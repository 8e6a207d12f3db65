"""What a network's logit difference depends on: integrated gradients, and occlusion.

The logit difference is the logit of a flare minus that of no flare. Shapes: B batch, T frames, H and W pixels, N
occlusions, S steps.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sffshards.base.errors import Field, InputError
from sffshards.base.progress import Advance
from sffshards.models import NO_FIELD, scale_clips


@dataclass(frozen=True, kw_only=True, slots=True)
class IntegratedGradients:
    """The attribution of every pixel of a clip, and how well the attributions add up."""

    attribution_THW: NDArray[np.float32]
    """Contribution of each pixel to the change of the logit difference from the clip without field to this one."""
    logit: float
    """Logit difference of the clip."""
    baseline_logit: float
    """Logit difference of the clip without field."""
    num_steps: int
    """Number of points on the path at which the gradient was computed."""

    @property
    def gap(self) -> float:
        """Completeness gap: the sum of the attributions minus the change of the logit difference; 0 if exact."""
        return float(self.attribution_THW.sum(dtype=np.float64)) - (self.logit - self.baseline_logit)

    @property
    def relative_gap(self) -> float:
        """Absolute value of the gap as a fraction of that of the change; nan where nothing changes."""
        change = abs(self.logit - self.baseline_logit)
        return abs(self.gap) / change if change else float("nan")


class Explained:
    """A network and a clip, on a device, whose pixels are replaced or scaled.

    Parameters
    ----------
    network
        Network from clips of shape (B, 1, 16, 224, 224) to logits of shape (B, 2); its weights no longer get gradients.
    clip_THW
        uint8 of shape (16, 224, 224).
    batch_size
        Number of clips that the network gets at a time; it changes results by rounding only.
    device
        Device to compute on.
    """

    def __init__(
        self, network: nn.Module, clip_THW: NDArray[np.uint8], *, batch_size: int, device: torch.device
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(requires_grad=False)
        self.batch_size = batch_size
        self.x_THW: Tensor = scale_clips(torch.from_numpy(clip_THW)[None].to(device))[0, 0]

    def with_network(self, network: nn.Module) -> Explained:
        """Return another network with the same clip."""
        other = copy.copy(self)
        other.network = network
        return other

    def logits(self, x_BTHW: Tensor) -> Tensor:
        """Return the logit difference of scaled clips, shape (B,)."""
        logits_BK: Tensor = self.network(x_BTHW[:, None])
        return logits_BK[:, 1] - logits_BK[:, 0]

    def replaced(self, masks: Iterable[NDArray[np.bool_]], *, advance: Advance) -> NDArray[np.float64]:
        """Return the logit difference with pixels replaced by those without field.

        Parameters
        ----------
        masks
            N arrays of any shape that broadcasts to (T, H, W), true where pixels are replaced.
        advance
            Receiver of the number of clips done.

        Returns
        -------
        float64 of shape (N,)
        """
        waiting = iter(masks)
        found = [np.empty(0)]
        while some := list(islice(waiting, self.batch_size)):
            hidden_BTHW = torch.stack(
                [torch.from_numpy(np.broadcast_to(mask, self.x_THW.shape).copy()) for mask in some]
            ).to(self.x_THW.device)
            with torch.inference_mode():
                logits_B = self.logits(self.x_THW.expand(len(some), -1, -1, -1).masked_fill(hidden_BTHW, NO_FIELD))
            found.append(logits_B.cpu().double().numpy())
            advance(len(some))
        return np.concatenate(found)


def integrate_gradients(explained: Explained, *, num_steps: int, advance: Advance) -> IntegratedGradients:
    """Compute integrated gradients along the straight path from the clip without field to the clip.

    The attribution of a pixel is its difference from the grey of no field, times the mean along the path of the
    gradient of the logit difference (Sundararajan et al. 2017, arXiv:1703.01365). The mean is a Gauss-Legendre
    quadrature.

    Parameters
    ----------
    explained
        Network and clip.
    num_steps
        Number of points on the path, at least 1.
    advance
        Receiver of the number of points done.

    Raises
    ------
    InputError
        If the number of steps is below 1, or the network's logits have no gradient.
    """
    if num_steps < 1:
        raise InputError(Field("steps"), expected="at least 1", found=str(num_steps), fix="choose another")
    nodes, weights = np.polynomial.legendre.leggauss(num_steps)
    difference_THW = explained.x_THW - NO_FIELD
    mean_THW = torch.zeros(explained.x_THW.shape, dtype=torch.float64)
    for start in range(0, num_steps, explained.batch_size):
        some = slice(start, start + explained.batch_size)
        t_B = torch.from_numpy((nodes[some] + 1) / 2).float().to(difference_THW.device)
        x_BTHW = (NO_FIELD + t_B[:, None, None, None] * difference_THW).requires_grad_()
        # A copy, because a network may change its input in place, which torch refuses of a tensor with a gradient.
        gradient_BTHW = _gradient(explained.logits(x_BTHW.clone()), x_BTHW).cpu().double()
        mean_THW += torch.tensordot(torch.from_numpy(weights[some] / 2), gradient_BTHW, dims=1)
        advance(len(t_B))
    logit, baseline = explained.replaced(np.array([[[False]], [[True]]])[:, None], advance=lambda _: None)
    attribution_THW = (mean_THW * difference_THW.cpu().double()).float().numpy()
    return IntegratedGradients(
        attribution_THW=attribution_THW, logit=float(logit), baseline_logit=float(baseline), num_steps=num_steps
    )


def frame_masks(num_frames: int) -> Iterator[NDArray[np.bool_]]:
    """Yield masks of shape (T, 1, 1), each of which hides one frame."""
    for row in np.eye(num_frames, dtype=np.bool_):
        yield row[:, None, None]


def patch_masks(side: int, *, patch_side: int) -> Iterator[NDArray[np.bool_]]:
    """Yield masks of shape (1, H, W), each of which hides one square patch of all frames, in rows from the upper left.

    Parameters
    ----------
    side
        Height and width of a frame in pixels.
    patch_side
        Height and width of a patch, a divisor of it.
    """
    for top in range(0, side, patch_side):
        for left in range(0, side, patch_side):
            mask_1HW = np.zeros((1, side, side), np.bool_)
            mask_1HW[:, top : top + patch_side, left : left + patch_side] = True
            yield mask_1HW


def _gradient(logits_B: Tensor, x_BTHW: Tensor) -> Tensor:
    if not logits_B.requires_grad:
        raise InputError(
            "the network",
            expected="logits that have a gradient with respect to the clip",
            found="none",
            fix="leave out what is not differentiable, such as torch.no_grad, .detach() and rounding",
        )
    (gradient_BTHW,) = torch.autograd.grad(logits_B.sum(), x_BTHW)
    return gradient_BTHW
