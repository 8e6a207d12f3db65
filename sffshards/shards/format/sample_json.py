"""A sample's JSON member: what the sample shows, for readers that have no index."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Self

from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.published_names import format_frame_name, format_sequence_name
from sffshards.domain.sample_sets import Part
from sffshards.domain.views import View
from sffshards.shards.build import Sample

__all__ = ["SampleMeta"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleMeta:
    """What a sample shows."""

    sequence: str
    """Published name of the sequence."""
    harp: int
    part: Part
    view: View
    label: int
    frames: tuple[str, ...]
    """Published names of the 16 frames."""
    t_rec_tai: tuple[str, ...]
    """Their times, in ISO format."""
    num_distinct: int
    """Number of distinct frames."""
    longest_gap_minutes: int
    """Longest time between two frames that follow one another; 0 for a single frame."""

    def __post_init__(self) -> None:
        if not len(self.frames) == len(self.t_rec_tai) == NUM_FRAMES:
            raise ValueError(f"{len(self.frames)} frames and {len(self.t_rec_tai)} times, not {NUM_FRAMES}")

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """Describe a sample."""
        sequence = sample.sequence
        return cls(
            sequence=format_sequence_name(sequence),
            harp=sequence.harp,
            part=sequence.part,
            view=sample.view,
            label=sequence.label,
            frames=tuple(format_frame_name(frame) for frame in sequence.frames),
            t_rec_tai=tuple(frame.t_rec_tai.isoformat() for frame in sequence.frames),
            num_distinct=sequence.num_distinct,
            longest_gap_minutes=max(sequence.gaps_minutes),
        )

    @classmethod
    def parse(cls, data: bytes | bytearray) -> Self:
        """Read the member's bytes; raises `ValueError` if they are not one."""
        try:
            content = json.loads(data)
            lists = {name: tuple(map(str, content[name])) for name in ("frames", "t_rec_tai")}
            return cls(**content | lists | {"part": Part(content["part"]), "view": View(content["view"])})
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"no sample's JSON: {error}") from None

    def to_bytes(self) -> bytes:
        """Give the member's bytes."""
        return json.dumps(
            {field.name: getattr(self, field.name) for field in fields(self)}, separators=(",", ":")
        ).encode()
