"""A network of clips joined with a small network of numbers, such as SHARP keywords and flare history.

Shapes: B batch, C channels, T 16 frames, H and W 224 pixels, K 2 classes, F features, L extensive keywords.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sffshards.tabular import EXTENSIVE, FEATURE_NAMES, NetworkInputs, NumberScale, SampleInputs

NUM_HIDDEN = 64
"""Width of the hidden layer of numbers."""

_NUM_CLASSES = 2


class NumberHead(nn.Module):
    """A hidden layer and a linear one, from numbers to what they add to the logits; at first they add nothing.

    The weights of masks begin at zero and stay there while a number is never missing in training, so that its first
    absence in a forecast counts as its mean. The standardisation of the numbers is part of the state dict.

    Parameters
    ----------
    inputs
        Which numbers.
    """

    def __init__(self, inputs: NetworkInputs) -> None:
        super().__init__()
        num_features = sum(len(FEATURE_NAMES[group]) for group in inputs.groups)
        self.register_buffer("floors_L", torch.ones(len(EXTENSIVE)))
        self.register_buffer("means_F", torch.zeros(num_features))
        self.register_buffer("scales_F", torch.ones(num_features))
        self.hidden = nn.Linear(2 * num_features, NUM_HIDDEN)
        self.out = nn.Linear(NUM_HIDDEN, _NUM_CLASSES)
        nn.init.zeros_(self.hidden.weight[:, num_features:])
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, numbers_BF: Tensor) -> Tensor:
        """Return what is added to the logits, shape (B, 2), of numbers and masks of shape (B, 2 F)."""
        added_BK: Tensor = self.out(torch.relu(self.hidden(numbers_BF)))
        return added_BK

    def set_scale(self, scale: NumberScale) -> None:
        """Set the standardisation, that of a training set."""
        for name in ("floors_L", "means_F", "scales_F"):
            self.get_buffer(name).copy_(torch.from_numpy(getattr(scale, name)))

    def get_scale(self) -> NumberScale:
        """Return the standardisation."""
        found = {name: self.get_buffer(name).cpu().numpy().copy() for name in ("floors_L", "means_F", "scales_F")}
        return NumberScale(**found)


class NetworkWithNumbers(nn.Module):
    """A network whose logits are those of a clip plus those of the sample's numbers.

    Where the last layer of the network is linear, this is the same as one linear layer on its pooled features and the
    hidden layer of the numbers side by side. It depends on no layer of the network, so any network of clips can take
    numbers.

    Parameters
    ----------
    net
        Network from float clips of shape (B, C, 16, 224, 224) to logits of shape (B, 2).
    inputs
        Which numbers it takes.
    """

    def __init__(self, net: nn.Module, *, inputs: NetworkInputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.net = net
        self.numbers = NumberHead(inputs)

    def forward(self, x_BCTHW: Tensor, numbers_BF: Tensor) -> Tensor:
        """Return logits of shape (B, 2), of clips and the numbers that `take_numbers` returns for them."""
        logits_BK: Tensor = self.net(x_BCTHW) + self.numbers(numbers_BF)
        return logits_BK

    def take_numbers(self, found: SampleInputs) -> NDArray[np.float32]:
        """Return the numbers of samples, float32 of shape (n, 2 F); see `sffshards.tabular.NumberScale.apply`."""
        return self.numbers.get_scale().apply(found, self.inputs.groups)

    def hold(self, numbers_F: NDArray[np.float32]) -> nn.Module:
        """Return this network as one of clips alone, with the numbers of a sample, shape (2 F,), held fixed."""
        return _HeldNumbers(self, torch.from_numpy(numbers_F))


class _HeldNumbers(nn.Module):
    """A network of clips that all have the same numbers."""

    def __init__(self, network: NetworkWithNumbers, numbers_F: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("numbers_F", numbers_F, persistent=False)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return logits of shape (B, 2)."""
        logits_BK: Tensor = self.network(x_BCTHW, self.get_buffer("numbers_F").expand(len(x_BCTHW), -1))
        return logits_BK
