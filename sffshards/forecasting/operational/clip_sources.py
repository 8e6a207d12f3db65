"""Sources of sequences to forecast: images, a build, or a table of keywords."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ConflictError, ImageError, InputError
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_sequences import PUBLISHED_WINDOWS, SequenceId, WindowRule
from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Kind, Part, format_group
from sffshards.domain.sequence_table import SequenceTable
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.operational.unlabelled_sequences import note_dropped
from sffshards.images import read_frame
from sffshards.labels import DataLayout
from sffshards.shards.build import describe_images
from sffshards.shards.read import find_samples
from sffshards.tabular import KeywordTable

if TYPE_CHECKING:
    from sffshards.shards.read import Build

_NUM_NAMED = 3
"""Number of missing images that an error names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A sequence that is forecast."""

    sequence: str
    """Published name of the sequence."""
    harp: int
    """HARP number."""
    t_end_tai: datetime
    """Time of the last frame, at which the forecast window begins."""
    num_distinct: int
    """Number of distinct frames, 1 to 16."""
    longest_gap_minutes: int
    """Longest time between two successive frames."""


class ImageSource:
    """Sequences of images in a folder; adjacent sequences decode the images that they share once.

    Parameters
    ----------
    folder
        Folder of images named ``<frame name>.fits.jpg``.
    sequences
        Sequences to forecast, sorted by HARP and time.

    Raises
    ------
    ImageError
        If images are missing; the error names the first ones.
    """

    def __init__(self, folder: Path, sequences: Sequence[FrameSequence]) -> None:
        self.folder = folder
        self._sequences = sequences
        self._require_images()

    def __len__(self) -> int:
        return len(self._sequences)

    def part(self, start: int, stop: int) -> ImageSource:
        """Return a source of consecutive sequences of this one."""
        return self._of(self._sequences[start:stop])

    def take(self, numbers: Iterable[int]) -> ImageSource:
        """Return a source of some of the sequences, by their positions."""
        return self._of([self._sequences[number] for number in numbers])

    def _of(self, sequences: Sequence[FrameSequence]) -> ImageSource:
        some = copy(self)
        some._sequences = sequences  # noqa: SLF001  of this class
        return some

    @property
    def ends(self) -> list[tuple[int, datetime]]:
        """HARP number and time of the last frame of each sequence."""
        return [(sequence.harp, sequence.t_end_tai) for sequence in self._sequences]

    @property
    def image_options(self) -> Mapping[str, object]:
        """How the images were made, as far as their folder records it."""
        return describe_images(DataLayout(images=self.folder, lists={}))

    @property
    def shown(self) -> list[Shown]:
        """Description of each clip."""
        return [describe_sequence(sequence) for sequence in self._sequences]

    def times(self, number: int) -> tuple[datetime, ...]:
        """Return the times of the sixteen frames of a sequence, TAI."""
        return tuple(frame.t_rec_tai for frame in self._sequences[number].frames)

    def clips(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the clips, uint8 of shape (16, 224, 224)."""
        frames: dict[FrameId, NDArray[np.uint8]] = {}
        for sequence in self._sequences:
            frames = {frame: pixels for frame, pixels in frames.items() if frame in sequence.frames}
            for frame in sequence.frames:
                if frame not in frames:
                    frames[frame] = self._read(frame)
            yield np.stack([frames[frame] for frame in sequence.frames])

    def _read(self, frame: FrameId) -> NDArray[np.uint8]:
        try:
            return read_frame(self._path(frame))
        except ImageError as error:
            fix = "replace the image, or remove it and the sequences that show it"
            raise ImageError(error.where, expected=error.expected, found=error.found, fix=fix) from None

    def _path(self, frame: FrameId) -> Path:
        return self.folder / f"{frame.image_name}"

    def _require_images(self) -> None:
        frames = dict.fromkeys(frame for sequence in self._sequences for frame in sequence.frames)
        missing = [self._path(frame).name for frame in frames if not self._path(frame).is_file()]
        if missing:
            more = f" and {len(missing) - _NUM_NAMED} others" if len(missing) > _NUM_NAMED else ""
            raise ImageError(
                self.folder,
                expected=f"the {len(frames)} images that the sequences show",
                found=f"all but {len(missing)}: {', '.join(missing[:_NUM_NAMED])}{more}",
                fix="add the missing images, or remove their sequences from the list",
            )


class BuildSource:
    """The samples of some parts of a build, without augmented views.

    Parameters
    ----------
    build
        An open build.
    parts
        Parts to forecast.
    every
        Whether to forecast every sequence, or only the latest of each HARP.
    windows
        Which sequences to leave out, as too short or with too long a gap.
    progress
        Receives a note about sequences that are left out.

    Raises
    ------
    InputError
        If the parts have no samples, or no sequence is long enough.
    """

    def __init__(
        self,
        build: Build,
        *,
        parts: Sequence[Part],
        every: bool,
        windows: WindowRule = PUBLISHED_WINDOWS,
        progress: Progress = SILENT,
    ) -> None:
        self.build = build
        rows = build.group_rows(format_group(part, Kind.BASE) for part in dict.fromkeys(parts))
        index = build.index
        if not len(rows):
            found = f"none in {', '.join(parts)}"
            raise InputError(build.folder, expected="samples", found=found, fix="choose other parts with {part}")
        rows = rows[np.lexsort((index["t_end_tai"][rows], index["harp"][rows]))]
        kept = rows[self._keep(rows, windows)]
        gone = set(index["harp"][rows].tolist()) - set(index["harp"][kept].tolist())
        note_dropped(build.folder, len(rows) - len(kept), gone, is_empty=not len(kept), progress=progress)
        if not every:
            harps = index["harp"][kept]
            kept = kept[np.append(harps[1:] != harps[:-1], np.True_)]
        self.rows: NDArray[np.int64] = kept

    def _keep(self, rows: NDArray[np.int64], windows: WindowRule) -> NDArray[np.bool_]:
        """Return which rows a rule keeps; only a limit of gaps needs the description of each sample."""
        if windows.max_gap_minutes is None:
            found = [(int(num_distinct), 0) for num_distinct in self.build.index["num_distinct"][rows]]
        else:
            metas = [self.build.read_meta(int(row)) for row in rows]
            found = [(meta.num_distinct, meta.longest_gap_minutes) for meta in metas]
        return np.array(
            [windows.keeps(num_distinct=frames, longest_gap_minutes=gap) for frames, gap in found], np.bool_
        )

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> BuildSource:
        """Return a source of consecutive samples of this one."""
        return self._of(self.rows[start:stop])

    def take(self, numbers: Iterable[int]) -> BuildSource:
        """Return a source of some of the samples, by their positions."""
        return self._of(self.rows[np.array(list(numbers), np.int64)])

    @property
    def ends(self) -> list[tuple[int, datetime]]:
        """HARP number and time of the last frame of each sample."""
        of = self.build.index[self.rows]
        return list(zip(of["harp"].tolist(), of["t_end_tai"].tolist(), strict=True))

    def named(self, sequences: Sequence[SequenceId]) -> BuildSource:
        """Return a source of the named sequences of the build, of any part; raises `InputError` for one it lacks."""
        return self._of(np.array([find_samples(self.build, one)[0] for one in sequences], np.int64))

    def _of(self, rows: NDArray[np.int64]) -> BuildSource:
        some = copy(self)
        some.rows = rows
        return some

    @property
    def image_options(self) -> Mapping[str, object]:
        """How the images of the build were made, as far as its manifest states it."""
        return self.build.manifest.inputs.image_options

    @property
    def shown(self) -> list[Shown]:
        """Description of each sample."""
        return [self._describe(int(row)) for row in self.rows]

    def times(self, number: int) -> tuple[datetime, ...]:
        """Return the times of the sixteen frames of a sample, TAI."""
        return tuple(map(datetime.fromisoformat, self.build.read_meta(int(self.rows[number])).t_rec_tai))

    def clips(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the clips, uint8 of shape (16, 224, 224)."""
        for row in self.rows.tolist():
            yield self.build.read_clip(row)

    def _describe(self, row: int) -> Shown:
        meta = self.build.read_meta(row)
        return Shown(
            sequence=meta.sequence,
            harp=meta.harp,
            t_end_tai=datetime.fromisoformat(meta.t_rec_tai[-1]),
            num_distinct=meta.num_distinct,
            longest_gap_minutes=meta.longest_gap_minutes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSource:
    """Sequences of the frames of a table of keywords."""

    sequences: SequenceTable
    """The sequences, from `find_table_sequences`."""
    keywords: KeywordTable
    """Keywords of the frames."""
    flares: HarpFlares | None
    """Flares of the regions up to then; None: forecasters of flare history are refused."""

    def take(self, numbers: Iterable[int]) -> TableSource:
        """Return a source of some of the sequences, by their positions."""
        return replace(self, sequences=self.sequences.take(np.array(list(numbers), np.int64)))

    @property
    def ends(self) -> list[tuple[int, datetime]]:
        """HARP number and time of the last frame of each sequence."""
        return list(zip(self.sequences.harps.tolist(), self.sequences.end_times.tolist(), strict=True))


def require_task(build: Build, task: Task) -> None:
    """Check that a build is of the task that the run forecasts.

    Raises
    ------
    ConflictError
        If it is of another task.
    """
    if build.manifest.task != task:
        raise ConflictError(
            build.folder,
            expected=f"a build of {task}, the task that the run forecasts",
            found=f"one of {build.manifest.task}",
            fix=f"name a build of {task} with {{shards}}, or a run of {build.manifest.task} with {{run}}",
        )


def describe_sequence(sequence: FrameSequence) -> Shown:
    """Return the description of a sequence of frames."""
    return Shown(
        sequence=sequence.name,
        harp=sequence.harp,
        t_end_tai=sequence.t_end_tai,
        num_distinct=sequence.num_distinct,
        longest_gap_minutes=max(sequence.gaps_minutes),
    )
