"""What the packets of a video stream tell without being decoded: where decoding can start, and what is uncertain."""

# Codecs of which each packet holds one frame and whose key frames let decoding start, apart from those of intra frames.
GROUPED = ("av1", "flv1", "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v3", "vp8", "vp9", "wmv2")
PROGRESSIVE = (0, 1)  # FFmpeg's field orders: unknown and progressive; otherwise a field may have its own packet


def is_uncertain(codec: str, packet) -> bool:
    """Return whether it is open which frame a packet yields, if any."""
    hidden = codec == "vp8" and not memoryview(packet)[0] & 0x10  # a frame that others refer to, but that is not shown
    return packet.is_discard or packet.is_corrupt or packet.pts is None or hidden


def one_frame_per_packet(context) -> bool:
    """Return whether each packet for a decoder holds one whole frame, as far as its codec tells."""
    if context.codec.intra_only:
        return True
    name = context.codec.canonical_name
    packed = name == "mpeg4" and context.has_b_frames  # two frames may share a packet
    return name in GROUPED and context.field_order in PROGRESSIVE and not packed


def starts_afresh(codec: str, packet, extradata: bytes | None) -> bool:
    """Return whether decoding can start at a key frame: in H.264 and HEVC, no later frame refers to earlier ones."""
    if codec not in ("h264", "hevc"):
        return True
    data = bytes(packet)
    start, kinds = 0, set()
    is_annex_b = not extradata or extradata[0] != 1
    size = 0 if is_annex_b else (extradata[4 if codec == "h264" else 21] & 3) + 1
    while True:
        if is_annex_b:
            start = data.find(b"\x00\x00\x01", start) + 3
            if start < 3 or start >= len(data):
                break
            kinds.add(data[start])
        else:
            if start + size >= len(data):
                break
            kinds.add(data[start + size])
            start += size + int.from_bytes(data[start : start + size])
    if codec == "h264":
        return 5 in {kind & 0x1F for kind in kinds}  # an instantaneous refresh
    return any(16 <= kind >> 1 & 0x3F <= 21 for kind in kinds)
