"""Which numbers a forecaster takes of a sample, by name; importing this loads no library."""

from __future__ import annotations

from enum import StrEnum


class InputGroup(StrEnum):
    """Features that a forecaster takes together."""

    KEYWORDS = "keywords"
    """SHARP keywords of the last frame."""
    COURSE = "course"
    """Mean, slope and largest value of the keywords over the frames of the sequence."""
    HISTORY = "history"
    """Earlier flares of the region that are known at the time of the last frame, in four numbers."""
    ACTIVITY = "activity"
    """The same flares by class, and the hours since the last."""

    @property
    def needs_keywords(self) -> bool:
        """Whether it needs a table of keywords."""
        return self in (InputGroup.KEYWORDS, InputGroup.COURSE)


class NetworkInputs(StrEnum):
    """What a network takes of a sample."""

    IMAGES = "images"
    IMAGES_KEYWORDS = "images,keywords"
    IMAGES_HISTORY = "images,history"
    IMAGES_KEYWORDS_HISTORY = "images,keywords,history"

    @property
    def groups(self) -> tuple[InputGroup, ...]:
        """Groups of features that it takes beside images, in their order; none for images alone."""
        keywords = (InputGroup.KEYWORDS,) if "keywords" in self else ()
        return (*keywords, InputGroup.HISTORY, InputGroup.ACTIVITY) if "history" in self else keywords

    @property
    def needs_keywords(self) -> bool:
        """Whether it needs a table of keywords."""
        return any(group.needs_keywords for group in self.groups)

    @property
    def needs_flares(self) -> bool:
        """Whether it needs a flare list."""
        return not all(group.needs_keywords for group in self.groups)
