"""The JSON member of a sample: what the sample shows, for readers that have no index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sffshards.base.json_records import Count, JsonFormat, decode_record, encode_compact
from sffshards.domain.frame_sequences import NUM_FRAMES, Sample
from sffshards.domain.sample_sets import Part
from sffshards.domain.views import View
from sffshards.shards.format.manifest import REBUILD

_EXPECTS = JsonFormat(expected="the JSON member of a sample", fix=REBUILD)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleMeta:
    """What a sample shows."""

    sequence: str
    """Published name of the sequence."""
    harp: Count
    part: Part
    view: View
    label: int
    frames: tuple[str, ...]
    """Published names of the 16 frames."""
    t_rec_tai: tuple[str, ...]
    """Record times of the 16 frames, in ISO format."""
    num_distinct: Count
    """Number of distinct frames."""
    longest_gap_minutes: Count
    """Longest time in minutes between two successive frames; 0 for a single frame."""

    def __post_init__(self) -> None:
        if not len(self.frames) == len(self.t_rec_tai) == NUM_FRAMES:
            raise ValueError(f"{len(self.frames)} frames and {len(self.t_rec_tai)} times, not {NUM_FRAMES}")

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """Return the description of a sample."""
        sequence = sample.sequence
        return cls(
            sequence=sequence.name,
            harp=sequence.harp,
            part=sequence.part,
            view=sample.view,
            label=sequence.label,
            frames=tuple(frame.name for frame in sequence.frames),
            t_rec_tai=tuple(frame.t_rec_tai.isoformat() for frame in sequence.frames),
            num_distinct=sequence.num_distinct,
            longest_gap_minutes=max(sequence.gaps_minutes),
        )

    @classmethod
    def parse(cls, data: bytes | bytearray, *, where: object) -> Self:
        """Parse the member's bytes; raises `DamageError` if they are anything else."""
        return decode_record(data, cls, where=where, expects=_EXPECTS)

    def to_bytes(self) -> bytes:
        """Return the member's bytes."""
        return encode_compact(self)
