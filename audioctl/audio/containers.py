"""What kind of file some bytes are, and whether their end is missing, from the structure alone.

Both answers are careful in one direction. A file that is not recognised may still be tried because of its name; a
cut that leaves no trace in the structure is not reported, because a false alarm is worse than a miss.
"""

import os
from collections.abc import Callable
from enum import Enum, auto
from typing import BinaryIO, Literal, NamedTuple


class Container(Enum):
    """The audio and video file formats that are told by their first bytes."""

    MPEG_AUDIO = auto()
    ADTS = auto()
    WAVE = auto()
    AIFF = auto()
    FLAC = auto()
    OGG = auto()
    MP4 = auto()
    MATROSKA = auto()
    OTHER = auto()
    """Known to hold sound, but with nothing more to tell here: CAF, AMR, ASF, AVI, AU, MPEG streams ..."""


class Sniffed(NamedTuple):
    """``start`` is the offset behind leading ID3v2 tags, in bytes."""

    container: Container
    start: int


_ID3V1_BYTES = 128
_UNKNOWN_LENGTH = 0x7FFF_0000
"""A RIFF length from here on is what a program writes that cannot go back to fill it in (ffmpeg, sox, arecord)."""

_OTHER_MAGIC = (
    b"caff\x00",
    b"#!AMR",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMA, WMV
    b".snd",
    b"riff\x2e\x91\xcf\x11",  # Wave64
    b"RF64",
    b"RIFX",
    b"FLV\x01",
    b"wvpk",
    b"MAC ",
    b"TTA1",
    b"MPCK",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x0b\x77",  # AC-3
)
_MP4_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"moof")
_TRANSPORT_PACKET_BYTES = 188

# ISO 11172-3 and 13818-3: kbit/s by bitrate index, (version 1?, layer).
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_FRAME_HEADER_BYTES = 7
"""Enough for an ADTS header; one of MPEG audio is 4 bytes."""

FrameLength = Callable[[bytes], int | None]
"""The length in bytes of the frame that a header begins, or None where it is no header."""


def sniff(stream: BinaryIO) -> Sniffed | None:
    """What ``stream`` holds, whatever it is called; None for anything that is not known to be audio or video."""
    start = _end_of_id3v2(stream)
    stream.seek(start)
    head = stream.read(4096)
    container = _by_magic(head)
    if container is None and _begins_with_frames(stream, start, _mpeg_frame_length):
        container = Container.MPEG_AUDIO
    if container is None and _begins_with_frames(stream, start, _adts_frame_length):
        container = Container.ADTS
    if container is None and start > 0:
        container = Container.MPEG_AUDIO  # nothing but audio files wears ID3 tags
    return None if container is None else Sniffed(container, start)


def holds_only_tags(stream: BinaryIO, start: int) -> bool:
    """Whether nothing but zeros and an ID3v1 tag follows ``start``."""
    stream.seek(start)
    while block := stream.read(1 << 16):
        if block.strip(b"\0"):
            rest = block.lstrip(b"\0") + stream.read(_ID3V1_BYTES)
            return rest.startswith(b"TAG") and len(rest) <= _ID3V1_BYTES
    return True


def is_cut_off(stream: BinaryIO, sniffed: Sniffed) -> bool:
    """Whether the structure says that more should follow."""
    size = stream.seek(0, os.SEEK_END)
    match sniffed.container:
        case Container.MPEG_AUDIO:
            return _mpeg_audio_is_cut_off(stream, sniffed.start, size)
        case Container.ADTS:
            return _ends_inside_a_frame(stream, sniffed.start, size, _adts_frame_length)
        case Container.WAVE:
            return _chunk_is_cut_off(stream, b"data", "little", size)
        case Container.AIFF:
            return _chunk_is_cut_off(stream, b"SSND", "big", size)
        case Container.OGG:
            return _ogg_is_cut_off(stream, size)
        case Container.MP4:
            return _mp4_is_cut_off(stream, size)
        case Container.MATROSKA:
            return _matroska_is_cut_off(stream, size)
        case _:
            return False


def _end_of_id3v2(stream: BinaryIO) -> int:
    offset = 0
    while True:
        stream.seek(offset)
        header = stream.read(10)
        if len(header) < 10 or not header.startswith(b"ID3") or max(header[6:10]) > 0x7F:
            return offset
        has_footer = bool(header[5] & 0x10)
        offset += 10 + _seven_bit_number(header[6:10]) + 10 * has_footer


def _seven_bit_number(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | byte
    return number


def _by_magic(head: bytes) -> Container | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return Container.WAVE
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Container.AIFF
    if head[:4] == b"fLaC":
        return Container.FLAC
    if head[:4] == b"OggS":
        return Container.OGG
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Container.MATROSKA
    if head[4:8] in _MP4_FIRST_BOXES:
        return Container.MP4
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    is_transport_stream = head[:1] == head[_TRANSPORT_PACKET_BYTES:][:1] == head[376:377] == b"G"
    if is_avi or is_transport_stream or head.startswith(_OTHER_MAGIC):
        return Container.OTHER
    return None


def _begins_with_frames(stream: BinaryIO, start: int, frame_length: FrameLength) -> bool:
    """Whether a whole frame stands at ``start``, and behind it another one or the end.

    One header alone is only some twenty fixed bits: UTF-16 text begins with something that looks like it.
    """
    stream.seek(start)
    length = frame_length(stream.read(_FRAME_HEADER_BYTES))
    if length is None:
        return False
    stream.seek(start)
    if len(stream.read(length)) < length:
        return False
    following = stream.read(_FRAME_HEADER_BYTES)
    return following[:3] in (b"", b"TAG") or frame_length(following) is not None


def _mpeg_frame_length(header: bytes) -> int | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    is_version_1 = version == 3
    bits_per_second = 1000 * _BITRATES[is_version_1, layer][bitrate_index - 1]
    sample_rate = (44_100, 48_000, 32_000)[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return (12 * bits_per_second // sample_rate + padding) * 4
    samples = 1152 if layer == 2 or is_version_1 else 576
    return samples // 8 * bits_per_second // sample_rate + padding


def _adts_frame_length(header: bytes) -> int | None:
    is_adts = len(header) >= 7 and header[0] == 0xFF and header[1] & 0xF6 == 0xF0
    if not is_adts or header[2] >> 2 & 15 > 12:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > _FRAME_HEADER_BYTES else None


def _mpeg_audio_is_cut_off(stream: BinaryIO, start: int, size: int) -> bool:
    stream.seek(start)
    frame = stream.read(2048)
    length = _mpeg_frame_length(frame)
    if length is None:
        return False
    declared = _declared_mpeg_bytes(frame[:length])
    if declared is None:
        return _ends_inside_a_frame(stream, start, size, _mpeg_frame_length)
    # Encoders disagree on whether the frame that holds this number counts.
    return size - start < declared - length


def _declared_mpeg_bytes(frame: bytes) -> int | None:
    """What a Xing, Info or VBRI header in the first frame says of the stream's length in bytes."""
    for tag in (b"Xing", b"Info"):
        at = frame.find(tag, 4, 64)
        if at >= 0:
            has_frames, has_bytes = frame[at + 7] & 1, frame[at + 7] & 2
            field = at + 8 + 4 * has_frames
            return int.from_bytes(frame[field : field + 4], "big") or None if has_bytes else None
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[46:50], "big") or None
    return None


def _ends_inside_a_frame(stream: BinaryIO, start: int, size: int, frame_length: FrameLength) -> bool:
    """Walks from frame to frame. Anything that is no frame (tags, rubbish) ends the walk without an alarm."""
    stream.seek(start)
    version_and_rate = _kind_of_frame(stream.read(3))
    offset = start
    while offset + _FRAME_HEADER_BYTES <= size:
        stream.seek(offset)
        header = stream.read(_FRAME_HEADER_BYTES)
        length = frame_length(header)
        if length is None or _kind_of_frame(header) != version_and_rate:
            return False
        offset += length
    return offset > size


def _kind_of_frame(header: bytes) -> tuple[int, int]:
    """Version and layer, and the sample rate's bits (in MPEG audio and ADTS alike): constant within a stream."""
    return header[1] & 0xFE, header[2] & 0x0C


def _chunk_is_cut_off(stream: BinaryIO, wanted: bytes, order: Literal["little", "big"], size: int) -> bool:
    offset = 12
    while True:
        stream.seek(offset)
        header = stream.read(8)
        if len(header) < 8:
            return False
        length = int.from_bytes(header[4:8], order)
        if header[:4] == wanted:
            return length < _UNKNOWN_LENGTH and offset + 8 + length > size
        offset += 8 + length + length % 2


def _ogg_is_cut_off(stream: BinaryIO, size: int) -> bool:
    """The last page must be whole and say that it is the last (RFC 3533: header type flag 4)."""
    longest_page = 27 + 255 + 255 * 255
    stream.seek(max(0, size - longest_page - _ID3V1_BYTES))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    segments = page[27 : 27 + page[26]]
    is_last = bool(page[5] & 4)
    return not is_last or len(page) < 27 + len(segments) + sum(segments)


def _mp4_is_cut_off(stream: BinaryIO, size: int) -> bool:
    offset = 0
    while offset + 8 <= size:
        stream.seek(offset)
        header = stream.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8 or not header[4:8].isalnum():
            return False
        offset += length
    return offset > size


def _matroska_is_cut_off(stream: BinaryIO, size: int) -> bool:
    stream.seek(4)
    header_length = _ebml_number(stream)
    if header_length is None:
        return False
    stream.seek(header_length, os.SEEK_CUR)
    if stream.read(4) != b"\x18\x53\x80\x67":
        return False
    segment_length = _ebml_number(stream)
    return segment_length is not None and stream.tell() + segment_length > size


def _ebml_number(stream: BinaryIO) -> int | None:
    """A variable-length number; None for the value that means unknown (a live recording)."""
    first = stream.read(1)
    if not first or first[0] == 0:
        return None
    extra = 8 - first[0].bit_length()
    number = int.from_bytes(first + stream.read(extra), "big") & ((1 << 7 * (extra + 1)) - 1)
    return None if number == (1 << 7 * (extra + 1)) - 1 else number
