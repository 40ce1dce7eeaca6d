"""Ogg Opus, written and read: RFC 3533 (pages) and RFC 7845 (Opus in Ogg)."""

import struct

FRAME_SAMPLES = 960
PACKETS_PER_PAGE = 50

CONTINUED, FIRST, LAST = 1, 2, 4


def _crc_table():
    table = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_CRC = _crc_table()


def crc(data):
    """The page checksum of RFC 3533, section 6: CRC-32 unreflected, from 0."""
    value = 0
    for byte in data:
        value = ((value << 8) & 0xFFFFFFFF) ^ _CRC[(value >> 24) ^ byte]
    return value


def _lacing(packet):
    return b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])


def _page(packets, flags, granule, serial, sequence):
    segments = b"".join(_lacing(packet) for packet in packets)
    assert len(segments) <= 255
    page = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, sequence, 0, len(segments))
    page += segments + b"".join(packets)
    return page[:22] + struct.pack("<I", crc(page)) + page[26:]


def opus_head(channels, pre_skip):
    """The identification header of RFC 7845, section 5.1."""
    return struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, pre_skip, 48_000, 0, 0)


def opus_tags(vendor, comments):
    """The comment header of RFC 7845, section 5.2."""
    fields = [vendor.encode()] + [f"{name}={value}".encode() for name, value in comments]
    packed = [struct.pack("<I", len(field)) + field for field in fields]
    return b"OpusTags" + packed[0] + struct.pack("<I", len(comments)) + b"".join(packed[1:])


def write(head, tags, packets, last_granule, serial):
    """A whole single-stream file of 20 ms packets."""
    pages = [_page([head], FIRST, 0, serial, 0), _page([tags], 0, 0, serial, 1)]
    for first in range(0, len(packets), PACKETS_PER_PAGE):
        group = packets[first : first + PACKETS_PER_PAGE]
        done = first + len(group)
        last = done == len(packets)
        granule = last_granule if last else done * FRAME_SAMPLES
        pages.append(_page(group, LAST if last else 0, granule, serial, len(pages)))
    return b"".join(pages)


def read(data):
    """All pages as (flags, granule, packets), every checksum verified.

    Packets that span pages do not occur in what `write` makes and are refused.
    """
    pages, at = [], 0
    serial = struct.unpack_from("<I", data, 14)[0]
    while at < len(data):
        magic, version, flags, granule, owner, sequence, check, count = struct.unpack_from(
            "<4sBBqIIIB", data, at
        )
        if magic != b"OggS" or version != 0 or owner != serial or sequence != len(pages):
            raise ValueError(f"bad page header at byte {at}")
        segments = data[at + 27 : at + 27 + count]
        body = at + 27 + count
        end = body + sum(segments)
        if crc(data[at : at + 22] + bytes(4) + data[at + 26 : end]) != check:
            raise ValueError(f"bad page checksum at byte {at}")
        if flags & CONTINUED or segments[-1] == 255:
            raise ValueError(f"a packet spans pages at byte {at}")
        packets, size = [], 0
        for segment in segments:
            size += segment
            if segment < 255:
                packets.append(data[body : body + size])
                body, size = body + size, 0
        pages.append((flags, granule, packets))
        at = end
    return pages
