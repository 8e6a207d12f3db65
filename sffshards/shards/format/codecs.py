"""Codecs, which turn sixteen frames into one payload of a shard and back: jpg, npy, mp4.

The list of codecs is closed. A payload is decoded by the codec that the manifest names, never by the name of a member,
and no codec can run code from data.
"""

from __future__ import annotations

import io
import struct
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import DamageError
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.jpeg_splice import STRIP_QUALITY, encode_strip

CLIP_SHAPE = (NUM_FRAMES, FRAME_SIDE, FRAME_SIDE)
"""Shape of a decoded sample: frames, height, width."""

Payload = bytes | memoryview

_STRIP_SHAPE = (NUM_FRAMES * FRAME_SIDE, FRAME_SIDE)
"""Height and width of a clip as one film strip."""


def _format_npy_header() -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": CLIP_SHAPE}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


class Codec(ABC):
    """Turns a clip, uint8 of shape (16, 224, 224), into bytes and back."""

    name: ClassVar[CodecName]
    description: ClassVar[str]
    """What a payload is, for the dataset card."""
    lossless: ClassVar[bool] = False
    """Whether decoding restores the exact pixels."""
    is_spliced: ClassVar[bool] = False
    """Whether `jpeg_splice` makes the payloads, so that a frame of many clips is encoded once."""
    raw_header: ClassVar[bytes] = b""
    """Header before the pixels, if these are stored as they are; empty for a codec that compresses."""

    @abstractmethod
    def encode(self, clip: NDArray[np.uint8]) -> bytes:
        """Encode a clip; the same pixels and library versions give the same bytes."""

    @abstractmethod
    def decode_into(self, payload: Payload, clip: NDArray[np.uint8], *, where: object) -> None:
        """Decode a payload into a C-contiguous uint8 array of shape (16, 224, 224).

        Raises
        ------
        DamageError
            If it is not a payload of this codec, whole, of the shape of a clip.
        """

    def decode(self, payload: Payload, *, where: object) -> NDArray[np.uint8]:
        """Decode a payload into a new array; raises as `decode_into`."""
        clip = np.empty(CLIP_SHAPE, np.uint8)
        self.decode_into(payload, clip, where=where)
        return clip

    @property
    @abstractmethod
    def provenance(self) -> str:
        """Library, version and settings of the encoder."""


class _Jpg(Codec):
    """One grey film strip, 224 wide and 16 x 224 high, of quality 95: about a sixth of the raw size."""

    name = CodecName.JPG
    description = "one grey film strip of 224 x 3584 pixels (one frame per 224 rows)"
    is_spliced = True

    def encode(self, clip: NDArray[np.uint8]) -> bytes:
        """Encode a clip."""
        return encode_strip(clip)

    def decode_into(self, payload: Payload, clip: NDArray[np.uint8], *, where: object) -> None:
        """Decode a payload with libjpeg-turbo, straight into the array."""
        import simplejpeg

        try:
            *size, colorspace, _ = simplejpeg.decode_jpeg_header(payload)
            if (colorspace, *size) != ("Gray", *_STRIP_SHAPE):
                raise _damage(where, f"a JPEG of {colorspace} and {size[1]}x{size[0]} pixels")
            simplejpeg.decode_jpeg(payload, colorspace="GRAY", buffer=clip.reshape(_STRIP_SHAPE))
        except ValueError as error:
            raise _damage(where, f"a JPEG that does not decode ({error})") from None

    @property
    def provenance(self) -> str:
        """Library, version and settings."""
        import PIL

        return f"Pillow {PIL.__version__}, JPEG quality {STRIP_QUALITY}"


class _Npy(Codec):
    """An uncompressed numpy array: lossless, read at the speed of memory."""

    name = CodecName.NPY
    description = "a uint8 array of shape (16, 224, 224)"
    lossless = True
    raw_header = _format_npy_header()

    def encode(self, clip: NDArray[np.uint8]) -> bytes:
        """Encode a clip."""
        return self.raw_header + clip.tobytes()

    def decode_into(self, payload: Payload, clip: NDArray[np.uint8], *, where: object) -> None:
        """Copy the pixels after checking the header."""
        start = len(self.raw_header)
        if len(payload) != start + clip.nbytes or payload[:start] != self.raw_header:
            raise _damage(where, "bytes that are not a uint8 array of that shape")
        clip.reshape(-1)[:] = np.frombuffer(payload, np.uint8, offset=start)

    @property
    def provenance(self) -> str:
        """Library, version and settings."""
        return "npy 1.0, uint8"


class _Mp4(Codec):
    """H.264 in grey, full range, constant rate factor 15: the smallest, for slow links."""

    name = CodecName.MP4
    description = "a grey H.264 movie of 224 x 224 pixels"
    _CRF = "15"
    _RATE = 10

    def encode(self, clip: NDArray[np.uint8]) -> bytes:
        """Encode a clip."""
        import av
        from av.video.reformatter import ColorRange

        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            # x264's choices depend on the number of threads; and its macroblock tree, at fourteen macroblocks a row,
            # on memory that nobody has written.
            options = {"crf": self._CRF, "preset": "medium", "x264-params": "threads=1:mbtree=0"}
            stream: Any = container.add_stream("libx264", rate=self._RATE, options=options)
            stream.width = stream.height = FRAME_SIDE
            stream.pix_fmt = "gray"
            stream.codec_context.color_range = ColorRange.JPEG  # all 256 levels, not television's 16 to 235
            for frame in clip:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        return buffer.getvalue()

    def decode_into(self, payload: Payload, clip: NDArray[np.uint8], *, where: object) -> None:
        """Decode a payload with decord, or with PyAV on systems for which decord is not published."""
        if payload[4:8] != b"ftyp":  # FFmpeg would guess the format of other bytes
            raise _damage(where, "bytes that are no mp4")
        if _movie_size(payload) != CLIP_SHAPE[1:]:
            raise _damage(where, "a movie of another size")
        try:
            import decord
        except ImportError:
            decord = None
        try:
            if decord is None:
                _decode_with_av(payload, clip, where=where)
            else:
                _decode_with_decord(decord, payload, clip, where=where)
        except DamageError:
            raise
        except (RuntimeError, OSError, ValueError, LookupError, StopIteration) as error:
            found = (str(error).splitlines() or ["too few frames"])[-1][:80]
            raise _damage(where, f"an mp4 that does not decode ({found})") from None

    @property
    def provenance(self) -> str:
        """Library, version and settings."""
        import av

        return f"PyAV {av.__version__}, libx264 grey, crf {self._CRF}"


_CODECS: dict[CodecName, Codec] = {codec.name: codec for codec in (_Jpg(), _Npy(), _Mp4())}


def get_codec(name: CodecName) -> Codec:
    """Return the codec of a name."""
    return _CODECS[name]


def _movie_size(payload: Payload) -> tuple[int, int] | None:
    """Return height and width that an mp4 states for its H.264 stream, or None if it has none."""
    start = bytes(payload).rfind(b"avc1")  # the sample entry; the end of the file holds it, or nothing does
    if start < 0 or start + 32 > len(payload):
        return None
    width, height = struct.unpack_from(">HH", payload, start + 28)
    return height, width


def _decode_with_decord(decord: Any, payload: Payload, clip: NDArray[np.uint8], *, where: object) -> None:
    decord.logging.set_level(decord.logging.QUIET)
    try:
        # Without a tolerance below one frame, decord shows a neighbour in place of a frame that does not decode.
        reader = decord.VideoReader(io.BytesIO(payload), ctx=decord.cpu(0), num_threads=1, fault_tol=0.01)
        if len(reader) != NUM_FRAMES:
            raise _damage(where, f"a movie of {len(reader)} frames")
        for picture in clip:
            frame = reader.next()  # one at a time: their size is what the stream states, whatever its header did
            if frame.shape != (*picture.shape, 3):
                raise _damage(where, f"a frame of shape {frame.shape}")
            picture[:] = frame.asnumpy()[..., 0]
    except decord.DECORDLimitReachedError:
        raise ValueError("frames are missing or damaged") from None
    except decord.DECORDError as error:
        raise ValueError(str(error)) from None


def _decode_with_av(payload: Payload, clip: NDArray[np.uint8], *, where: object) -> None:
    import av

    container: Any
    with av.open(io.BytesIO(payload), format="mp4") as container:
        stream = container.streams.video[0]
        if stream.frames != NUM_FRAMES:
            raise _damage(where, f"a movie of {stream.frames} frames")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}  # otherwise FFmpeg conceals damage
        frames = container.decode(stream)
        for picture in clip:
            frame = next(frames)
            if (frame.height, frame.width) != picture.shape:
                raise _damage(where, f"a frame of shape {frame.height, frame.width}")
            picture[:] = frame.to_ndarray(format="gray")


def _damage(where: object, found: str) -> DamageError:
    shape = "x".join(str(n) for n in CLIP_SHAPE)
    return DamageError(where, expected=f"a clip of {shape} pixels", found=found, fix="build this shard again")
