"""A faster implementation of MViT's attention and first convolution: the same function, the same names of weights.

`docs/design/attention.md` derives both. Shapes: B batch, H heads, N tokens (the class token first, then T*H*W
positions, width fastest), D channels per head, Q and K positions of queries and keys along one axis.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.grad import conv3d_weight
from torchvision.models.video import MViT
from torchvision.models.video.mvit import MultiscaleAttention, Pool

_ALIGNMENT = 8
"""Row lengths that fused kernels for GPUs need are multiples of this."""

Grid = tuple[int, int, int]
"""Numbers of positions along time, height and width."""


def speed_up(net: MViT) -> None:
    """Replace a network's attention and first convolution by the faster ones, with the same weights.

    Afterwards it takes clips of one grey channel as well as of three. It computes the same function, and its state dict
    has the same names, shapes and order.

    Parameters
    ----------
    net
        Network with relative positions in every block, as in MViTv2.
    """
    net.conv_proj = GreyStem(net.conv_proj)
    for block in net.blocks:
        block.attn = FusedAttention(block.attn)


def tile_channel(_net: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    """Repeat a clip's one channel three times: a forward pre-hook for a network that takes three channels only."""
    (x_BCTHW,) = arguments
    return (x_BCTHW.expand(-1, 3, -1, -1, -1),)


class GreyStem(nn.Module):
    """A 3D convolution of three channels that also takes one, which stands for three equal ones.

    Equal channels may be summed before or after the product with the weights, so one channel is convolved with the sum
    of the weights over channels. The gradient of that sum is the gradient of each channel's weights. Where patches do
    not overlap, the convolution is computed as a product with their pixels.

    Parameters
    ----------
    conv
        Convolution whose weights are used.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias
        self.stride = conv.stride
        self.padding = conv.padding
        self._cuts_patches = conv.kernel_size == conv.stride and not any(conv.padding)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the convolution of clips of one channel or three."""
        weight = self.weight.sum(1, keepdim=True) if x_BCTHW.shape[1] == 1 else self.weight
        if self._cuts_patches:
            return _project_patches(x_BCTHW, weight, self.bias)
        return functional.conv3d(x_BCTHW, weight, self.bias, self.stride, self.padding)


def _project_patches(x_BCTHW: Tensor, weight_DCKKK: Tensor, bias_D: Tensor | None) -> Tensor:
    """Convolve clips in strides as long as the kernel: a product, whose gradient takes a CPU a tenth of the time."""
    sizes = weight_DCKKK.shape[2:]
    nums = [length // size for length, size in zip(x_BCTHW.shape[2:], sizes, strict=True)]
    for axis, (num, size) in enumerate(zip(nums, sizes, strict=True), start=2):
        x_BCTHW = x_BCTHW.narrow(axis, 0, num * size)
    cut = [part for pair in zip(nums, sizes, strict=True) for part in pair]
    patches_BTHWE = x_BCTHW.reshape(*x_BCTHW.shape[:2], *cut).permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)
    return functional.linear(patches_BTHWE, weight_DCKKK.flatten(1), bias_D).movedim(4, 1)


class FusedAttention(nn.Module):
    """Attention over pooled tokens with decomposed relative positions, as one scaled dot product.

    Parameters
    ----------
    attention
        torchvision's attention with relative positions, whose weights and poolings are used.
    """

    def __init__(self, attention: MultiscaleAttention) -> None:
        super().__init__()
        self.num_heads: int = attention.num_heads
        self.head_dim: int = attention.head_dim
        self.scale: float = attention.scaler
        self.residual_pool: bool = attention.residual_pool
        self.residual_with_cls_embed: bool = attention.residual_with_cls_embed
        # In torchvision's order, in which an optimiser's state is saved.
        self.rel_pos_h: nn.Parameter = attention.rel_pos_h
        self.rel_pos_w: nn.Parameter = attention.rel_pos_w
        self.rel_pos_t: nn.Parameter = attention.rel_pos_t
        self.qkv: nn.Linear = attention.qkv
        self.project: nn.Sequential = attention.project
        self.pool_q: Pool | None = attention.pool_q
        self.pool_k: Pool | None = attention.pool_k
        self.pool_v: Pool | None = attention.pool_v

    def forward(self, x_BNC: Tensor, thw: Grid) -> tuple[Tensor, Grid]:
        """Return the output of attention, and the grid of its tokens after pooling."""
        qkv_3BHND = self.qkv(x_BNC).unflatten(2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        # Not by index: the gradient of each would be a whole qkv, zero but for a third.
        q_BHND, k_BHND, v_BHND = qkv_3BHND.unbind(0)
        q_BHND, thw_q = _pool(self.pool_q, q_BHND, thw)
        k_BHND, thw_k = _pool(self.pool_k, k_BHND, thw)
        v_BHND, _ = _pool(self.pool_v, v_BHND, thw)
        out_BHND = self._attend(q_BHND, k_BHND, v_BHND, thw_q, thw_k)
        if self.residual_pool:
            out_BHND = self._add_query(out_BHND, q_BHND)
        return self.project(out_BHND.transpose(1, 2).flatten(2)), thw_q

    def _attend(self, q_BHND: Tensor, k_BHND: Tensor, v_BHND: Tensor, thw_q: Grid, thw_k: Grid) -> Tensor:
        """Compute both terms of a score in one dot product: q.k * scale, and q's bias at the position of k."""
        bias_BHNK = self._biases(q_BHND, thw_q, thw_k)
        onehot_NK = _one_hot_positions(thw_k, like=bias_BHNK)
        spare = -(self.head_dim + sum(thw_k)) % _ALIGNMENT
        # The class token comes first: as a query it has no bias, as a key no position.
        bias_BHNK = functional.pad(bias_BHNK, (0, spare, 1, 0))
        onehot_NK = functional.pad(onehot_NK, (0, spare, 1, 0)).expand(*k_BHND.shape[:3], -1)
        q_BHNE = torch.cat([q_BHND.to(bias_BHNK.dtype), bias_BHNK], dim=3)
        k_BHNE = torch.cat([(self.scale * k_BHND).to(bias_BHNK.dtype), onehot_NK], dim=3)
        v_BHND = v_BHND.to(bias_BHNK.dtype)
        # torch's fused kernel for CPUs takes twice the time of plain products in bfloat16.
        is_slow = q_BHNE.device.type == "cpu" and q_BHNE.dtype is torch.bfloat16
        if is_slow or _is_transformed():
            return _multiply(q_BHNE, k_BHNE, v_BHND)
        # Fused kernels need values as long as keys.
        v_BHNE = functional.pad(v_BHND, (0, sum(thw_k) + spare))
        out_BHNE = functional.scaled_dot_product_attention(q_BHNE, k_BHNE, v_BHNE, scale=1.0)
        if out_BHNE.requires_grad and not torch.compiler.is_compiling():
            out_BHNE = _TwiceDifferentiable.apply(out_BHNE, q_BHNE, k_BHNE, v_BHNE)
        return out_BHNE[..., : self.head_dim]

    def _biases(self, q_BHND: Tensor, thw_q: Grid, thw_k: Grid) -> Tensor:
        """Return each query's bias for a key's time, height and width, without the class token: (B, H, N-1, K+K+K)."""
        tables = (self.rel_pos_t, self.rel_pos_h, self.rel_pos_w)
        t_QKD, h_QKD, w_QKD = map(_relative_vectors, tables, thw_q, thw_k)
        # Time and height share a product: a matrix of both for each pair of them, whose rows are the widths.
        num_t, num_h, _ = thw_q
        th_THKD = torch.cat([t_QKD[:, None].expand(-1, num_h, -1, -1), h_QKD.expand(num_t, -1, -1, -1)], dim=2)
        grid_BHTHWD = q_BHND[:, :, 1:].reshape(*q_BHND.shape[:2], *thw_q, self.head_dim)
        bias_th = grid_BHTHWD @ th_THKD.transpose(2, 3)
        bias_w = (grid_BHTHWD.transpose(3, 4) @ w_QKD.transpose(1, 2)).transpose(3, 4)
        return torch.cat([bias_th, bias_w], dim=5).flatten(2, 4)

    def _add_query(self, out_BHND: Tensor, q_BHND: Tensor) -> Tensor:
        if self.residual_with_cls_embed:
            return out_BHND + q_BHND
        shown_N1 = torch.ones(q_BHND.shape[2], 1, dtype=q_BHND.dtype, device=q_BHND.device)
        shown_N1[0] = 0  # the class token's query is left out
        return torch.addcmul(out_BHND, q_BHND, shown_N1)


def _pool(pool: Pool | None, x_BHND: Tensor, thw: Grid) -> tuple[Tensor, Grid]:
    """Pool the positions and normalise; the class token is only normalised."""
    if pool is None:
        return x_BHND, thw
    pooled: tuple[Tensor, Grid]
    if x_BHND.device.type != "cpu" or _is_transformed():
        pooled = pool(x_BHND, thw)
        return pooled
    # A CPU takes several times as long for the gradient of a depthwise convolution in bfloat16 as in float32.
    with torch.autocast("cpu", enabled=False):
        x_BHND = x_BHND.to(pool.pool.weight.dtype)
        conv = pool.pool
        if any(size % 2 == 0 for size in conv.kernel_size):
            pooled = pool(x_BHND, thw)
            return pooled
        class_BH1D, positions_BHND = x_BHND.split_with_sizes([1, x_BHND.shape[2] - 1], dim=2)
        grid_MDTHW = positions_BHND.reshape(-1, *thw, x_BHND.shape[3]).permute(0, 4, 1, 2, 3)
        grid_MDTHW = _DepthwiseConv.apply(grid_MDTHW, conv.weight, conv.stride)
        positions_BHND = grid_MDTHW.permute(0, 2, 3, 4, 1).reshape(*x_BHND.shape[:2], -1, x_BHND.shape[3])
        num_t, num_h, num_w = grid_MDTHW.shape[2:]
        return pool.norm_act(torch.cat([class_BH1D, positions_BHND], dim=2)), (num_t, num_h, num_w)


def _is_transformed() -> bool:
    """Return whether a transform of `torch.func` or forward-mode differentiation is active.

    Fused kernels and gradients of our own do not support them, so what torchvision computes is computed then.
    """
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0  # noqa: SLF001  no public way


def _multiply(q_BHNE: Tensor, k_BHNE: Tensor, v_BHNE: Tensor) -> Tensor:
    """Return attention as plain products, with a matrix of all scores."""
    return (q_BHNE @ k_BHNE.transpose(2, 3)).softmax(dim=3) @ v_BHNE


class _TwiceDifferentiable(torch.autograd.Function):
    """The output of fused attention, with a gradient that can be differentiated again.

    Fused kernels have no second derivatives. Where one may be asked for, the gradient is that of plain products.
    """

    @staticmethod
    def forward(ctx: Any, out_BHNE: Tensor, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)  # the kernel keeps them anyway
        return out_BHNE.view_as(out_BHNE)

    @staticmethod
    def backward(ctx: Any, gradient_BHNE: Tensor) -> tuple[Tensor | None, ...]:
        create_graph = torch.is_grad_enabled()
        if not (create_graph or _is_transformed()):
            return gradient_BHNE, None, None, None
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        with torch.enable_grad():
            out_BHNE = _multiply(*inputs)
        wanted = [tensor for tensor, is_needed in zip(inputs, needed, strict=True) if is_needed]
        gradients = iter(torch.autograd.grad(out_BHNE, wanted, gradient_BHNE, create_graph=create_graph))
        return None, *(next(gradients) if is_needed else None for is_needed in needed)


class _DepthwiseConv(torch.autograd.Function):
    """A depthwise convolution padded by half its kernel, with channels last, as in the layout of tokens.

    Its gradient with respect to the input is the same convolution with the kernel reversed, and with zeros between the
    numbers where it strides. On a CPU, torch computes that many times as fast as its own backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x_MDTHW: Tensor, weight: Tensor, stride: Grid) -> Tensor:
        x_MDTHW = x_MDTHW.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x_MDTHW, weight)
        ctx.stride = stride
        return _convolve_depthwise(x_MDTHW, weight, stride)

    @staticmethod
    def backward(ctx: Any, gradient_MDTHW: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x_MDTHW, weight = ctx.saved_tensors
        spread_MDTHW = _spread(gradient_MDTHW, x_MDTHW.shape[2:], ctx.stride)
        by_x = _convolve_depthwise(spread_MDTHW, weight.flip(2, 3, 4), (1, 1, 1))
        if not ctx.needs_input_grad[1]:
            return by_x, None, None
        # Channels first: torch takes up to twice as long for this one with channels last.
        by_weight: Tensor = conv3d_weight(  # type: ignore[no-untyped-call]  # torch left its return out
            x_MDTHW.contiguous(),
            weight.shape,
            gradient_MDTHW.contiguous(),
            stride=ctx.stride,
            padding=_half(weight),
            groups=len(weight),
        )
        return by_x, by_weight, None


def _convolve_depthwise(x_MDTHW: Tensor, weight: Tensor, stride: Grid) -> Tensor:
    weight = weight.contiguous(memory_format=torch.channels_last_3d)
    return functional.conv3d(x_MDTHW, weight, stride=stride, padding=_half(weight), groups=len(weight))


def _spread(x_MDTHW: Tensor, thw: Grid, stride: Grid) -> Tensor:
    """Return a grid of zeros with the numbers a stride apart, with channels last."""
    if stride == (1, 1, 1):
        return x_MDTHW.contiguous(memory_format=torch.channels_last_3d)
    spread_MTHWD = x_MDTHW.new_zeros(x_MDTHW.shape[0], *thw, x_MDTHW.shape[1])
    spread_MDTHW = spread_MTHWD.permute(0, 4, 1, 2, 3)
    spread_MDTHW[:, :, :: stride[0], :: stride[1], :: stride[2]] = x_MDTHW
    return spread_MDTHW


def _half(weight: Tensor) -> list[int]:
    """Return half the kernel, the padding with which a convolution of stride 1 keeps the size of the grid."""
    return [size // 2 for size in weight.shape[2:]]


def _relative_vectors(table_RD: Tensor, num_q: int, num_k: int) -> Tensor:
    """Return the table's vector for each pair of positions along one axis, of shape (Q, K, D).

    Each row of the table belongs to a distance, in ascending order. Where queries and keys are spaced differently,
    distances are in steps of the finer spacing, computed in float32 and rounded down, as in torchvision.
    """
    num_distances = 2 * max(num_q, num_k) - 1
    if len(table_RD) != num_distances:
        columns_1DR = functional.interpolate(table_RD.T[None], size=num_distances, mode="linear")
        table_RD = columns_1DR[0].T
    steps_q = torch.arange(num_q, device=table_RD.device) * max(num_k / num_q, 1.0)
    steps_k = torch.arange(num_k - 1, -1, -1, device=table_RD.device) * max(num_q / num_k, 1.0)
    return table_RD[(steps_q[:, None] + steps_k).long()]


def _one_hot_positions(thw: Grid, *, like: Tensor) -> Tensor:
    """Return the time, height and width of each position of a grid, one-hot and concatenated: (T*H*W, T+H+W)."""
    axes = []
    for axis, num in enumerate(thw):
        shape = [1, 1, 1, num]
        shape[axis] = num
        axes.append(torch.eye(num, dtype=like.dtype, device=like.device).view(shape).expand(*thw, -1))
    return torch.cat(axes, dim=3).flatten(0, 2)
