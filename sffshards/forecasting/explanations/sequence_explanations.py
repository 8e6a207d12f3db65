"""Explanations of the forecasts that the members of an ensemble make of sequences.

Shapes: M members, T frames, H and W pixels, P patches along a side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sffshards.base.errors import Field, InputError
from sffshards.base.progress import Advance, Progress
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.domain.task import Task
from sffshards.forecasting import operational, runs
from sffshards.forecasting.explanations.attribution_checks import (
    AttributionChecks,
    check_attributions,
    count_check_clips,
)
from sffshards.forecasting.explanations.attributions import (
    Explained,
    IntegratedGradients,
    frame_masks,
    integrate_gradients,
    patch_masks,
)
from sffshards.models import NetworkWithNumbers
from sffshards.tabular import SampleInputs

_MIN_PATCH_SIDE = 7
_LARGE_GAP = 0.05
"""Relative completeness gap from which a note advises more steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplanationOptions:
    """How forecasts are explained."""

    num_steps: int = 64
    """Number of steps of integrated gradients."""
    patch_side: int = 32
    """Height and width in pixels of the patches that are hidden, a divisor of 224."""
    check: bool = False
    """Whether to check the attributions by deletion and with shuffled weights."""
    seed: int = 0
    """Seed of the checks."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise InputError(Field("steps"), expected="at least 1", found=str(self.num_steps), fix="choose another")
        if not _MIN_PATCH_SIDE <= self.patch_side <= FRAME_SIDE or FRAME_SIDE % self.patch_side:
            sides = [side for side in range(_MIN_PATCH_SIDE, FRAME_SIDE) if not FRAME_SIDE % side]
            raise InputError(
                Field("patch"),
                expected=f"a divisor of {FRAME_SIDE}: {', '.join(map(str, sides))}",
                found=str(self.patch_side),
                fix="choose one of them",
            )

    @property
    def num_clips(self) -> int:
        """Number of clips that a network computes for one sequence."""
        num_patches = (FRAME_SIDE // self.patch_side) ** 2
        return self.num_steps + NUM_FRAMES + num_patches + (count_check_clips(self.num_steps) if self.check else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberExplanation:
    """The explanation of one member's forecast of a sequence."""

    member: operational.Member
    """The member: one fold of the run."""
    gradients: IntegratedGradients
    """Attributions to pixels by integrated gradients."""
    frame_drop_T: NDArray[np.float64]
    """Decrease of the logit difference if one frame is replaced by no field."""
    patch_drop_PP: NDArray[np.float64]
    """Decrease of the logit difference if one patch is replaced by no field in all frames."""
    checks: AttributionChecks | None
    """Checks of the attributions, where they were asked for."""

    @property
    def raw_probability(self) -> float:
        """Raw probability of a flare, as `sffshards predict` computes it."""
        return float(1 / (1 + np.exp(-self.gradients.logit)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The explanation of the forecast of a sequence by all members; means are over the members.

    The mean of the members' attributions is the attribution of their mean logit difference.
    """

    shown: operational.Shown
    """Description of the sequence."""
    t_rec_tai: tuple[datetime, ...]
    """Times of the sixteen frames; a short sequence repeats some."""
    clip_THW: NDArray[np.uint8]
    """Grey values of the frames."""
    options: ExplanationOptions
    """Options of the explanation."""
    members: tuple[MemberExplanation, ...]
    """Explanations by the members, at least one."""
    numbers: SampleInputs | None = None
    """What is known of the sequence besides its frames, if the network takes it."""

    @property
    def task(self) -> Task:
        """The task that is forecast."""
        return self.members[0].member.task

    @property
    def attribution(self) -> NDArray[np.float64]:
        """Mean attribution of each pixel, shape (16, 224, 224)."""
        return np.mean([one.gradients.attribution_THW for one in self.members], axis=0, dtype=np.float64)

    @property
    def frame_sums(self) -> NDArray[np.float64]:
        """Mean attribution of each frame, the sum over its pixels: shape (16,)."""
        return np.asarray(self.attribution.sum(axis=(1, 2)), np.float64)

    @property
    def frame_drops(self) -> NDArray[np.float64]:
        """Mean decrease of the logit difference if one frame is replaced by no field, shape (16,)."""
        return np.mean([one.frame_drop_T for one in self.members], axis=0)

    @property
    def patch_drops(self) -> NDArray[np.float64]:
        """Mean decrease of the logit difference if one patch is replaced by no field in all frames, shape (P, P)."""
        return np.mean([one.patch_drop_PP for one in self.members], axis=0)

    @property
    def logit(self) -> float:
        """Mean logit difference."""
        return float(np.mean([one.gradients.logit for one in self.members]))

    @property
    def baseline_logit(self) -> float:
        """Mean logit difference of the clip without field."""
        return float(np.mean([one.gradients.baseline_logit for one in self.members]))

    @property
    def probability(self) -> float:
        """Mean probability as `sffshards predict` forecasts it: calibrated for members that have a calibration."""
        return float(np.mean([_calibrate(one) for one in self.members]))


def explain_sequences(
    members: Sequence[operational.Member],
    source: operational.ImageSource | operational.BuildSource,
    *,
    numbers: SampleInputs | None,
    options: ExplanationOptions,
    inference: runs.Inference,
    progress: Progress,
) -> Iterator[Explanation]:
    """Explain the forecast of each sequence of a source, one at a time, in its order.

    Parameters
    ----------
    members
        One or more members of one task.
    source
        The sequences.
    numbers
        What is known of the sequences besides their images, from `sffshards.forecasting.operational.describe_numbers`;
        None if the networks take images alone. A sequence's numbers stay as they are, and what depends on pixels is
        explained.
    options
        How forecasts are explained.
    inference
        Batch size, device, and the factories that the user named.
    progress
        Receives the progress, and notes about grey scales, members without a calibration and large gaps.

    Yields
    ------
    Explanation
        Explanation of the next sequence.

    Raises
    ------
    InputError
        If a checkpoint is of another network, an image cannot be read, or a network has no gradient.
    DamageError
        If a checkpoint is damaged, or a network returns values that are not finite.
    """
    if (scaled := operational.explain_scale(members, source.image_options)) is not None:
        progress.note(scaled)
    for member in members:
        if not member.is_calibrated:
            progress.note(f"{member.name}: raw probabilities, not calibrated: {member.reason}")
    networks = [operational.load_network(member, factories=inference.factories) for member in members]
    for number, (shown, clip_THW) in enumerate(zip(source.shown, source.clips(), strict=True)):
        own = None if numbers is None else numbers.take(slice(number, number + 1))
        with progress.task(f"Explain {shown.sequence}", len(members) * options.num_clips, unit="clips") as advance:
            found = tuple(
                _explain(
                    member,
                    _hold_numbers(network, own),
                    clip_THW,
                    options=options,
                    inference=inference,
                    advance=advance,
                )
                for member, network in zip(members, networks, strict=True)
            )
        _note_gaps(found, progress)
        yield Explanation(
            shown=shown,
            t_rec_tai=source.times(number),
            clip_THW=clip_THW,
            options=options,
            members=found,
            numbers=own,
        )


def _hold_numbers(network: nn.Module, numbers: SampleInputs | None) -> nn.Module:
    """Return a network of clips: of one that takes numbers too, with those of a sequence."""
    if numbers is None or not isinstance(network, NetworkWithNumbers):
        return network
    return network.hold(network.take_numbers(numbers)[0])


def _explain(
    member: operational.Member,
    network: nn.Module,
    clip_THW: NDArray[np.uint8],
    *,
    options: ExplanationOptions,
    inference: runs.Inference,
    advance: Advance,
) -> MemberExplanation:
    explained = Explained(network, clip_THW, batch_size=inference.batch_size, device=inference.device)
    gradients = integrate_gradients(explained, num_steps=options.num_steps, advance=advance)
    attribution = gradients.attribution_THW
    runs.require_finite(
        np.array([gradients.logit, gradients.baseline_logit, attribution.sum(dtype=np.float64)]),
        checkpoint=member.checkpoint,
    )
    num_along = FRAME_SIDE // options.patch_side
    of_frames = explained.replaced(frame_masks(NUM_FRAMES), advance=advance)
    of_patches = explained.replaced(patch_masks(FRAME_SIDE, patch_side=options.patch_side), advance=advance)
    checks = None
    if options.check:
        checks = check_attributions(
            explained, attribution, num_steps=options.num_steps, seed=options.seed, advance=advance
        )
    return MemberExplanation(
        member=member,
        gradients=gradients,
        frame_drop_T=gradients.logit - of_frames,
        patch_drop_PP=gradients.logit - of_patches.reshape(num_along, num_along),
        checks=checks,
    )


def _note_gaps(found: Sequence[MemberExplanation], progress: Progress) -> None:
    for one in found:
        if one.gradients.relative_gap > _LARGE_GAP:
            progress.note(
                f"{one.member.name}: the attributions miss {one.gradients.relative_gap:.0%} of the change of the logit "
                f"difference; use more than {one.gradients.num_steps} steps"
            )


def _calibrate(one: MemberExplanation) -> float:
    raw = np.array([one.raw_probability])
    calibrated = runs.calibrate(one.member.decision, raw, by=runs.Probability.PLATT)
    return float((raw if calibrated is None else calibrated)[0])
