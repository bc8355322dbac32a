//! The packets of an Ogg Opus file (RFC 3533, RFC 7845), as opusenc writes them.

/// What decoding starts with and the packets of audio.
pub(crate) struct OggOpus {
    /// Samples at 48 kHz that a decoder drops at the start.
    pub(crate) pre_skip: usize,
    pub(crate) packets: Vec<Vec<u8>>,
}

pub(crate) fn read(mut file: &[u8]) -> OggOpus {
    let mut packets = Vec::new();
    let mut packet = Vec::new();
    while !file.is_empty() {
        assert_eq!(file[..4], *b"OggS");
        let segments = usize::from(file[26]);
        let sizes = &file[27..27 + segments];
        let mut body = &file[27 + segments..];
        for &size in sizes {
            let (segment, rest) = body.split_at(usize::from(size));
            packet.extend_from_slice(segment);
            body = rest;
            if size < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        file = body;
    }
    let head = packets.remove(0);
    assert_eq!(head[..8], *b"OpusHead");
    assert_eq!(packets.remove(0)[..8], *b"OpusTags");
    OggOpus {
        pre_skip: usize::from(u16::from_le_bytes([head[10], head[11]])),
        packets,
    }
}
