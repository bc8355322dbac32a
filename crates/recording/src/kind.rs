//! Owns telling the kinds of audio files apart by how they begin. Never decodes one.

/// Bytes of the head of an ID3v2 tag (ID3v2.4.0 §3.1).
const TAG_HEAD: usize = 10;

/// A kind of audio file that [`import`](crate::import()) reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioKind {
    /// RIFF with WAVE in it, RF64 and RIFX included.
    Wav,
    /// MPEG audio, layers 1 to 3, with or without a tag before it.
    Mp3,
    /// Ogg, whatever is in it.
    Ogg,
    /// FLAC in a file of its own, with or without a tag before it.
    Flac,
}

impl AudioKind {
    /// Returns the kind of a file by its first bytes; `None` for one that begins otherwise, which may be MPEG audio with something
    /// in front of it.
    pub fn of(bytes: &[u8]) -> Option<AudioKind> {
        let is_tag = bytes.starts_with(b"ID3") && bytes.len() >= TAG_HEAD;
        if is_tag {
            // Seven bits in each of four bytes.
            let length = bytes[6..TAG_HEAD]
                .iter()
                .fold(0, |length, byte| length << 7 | usize::from(byte & 0x7F));
            let behind = bytes.get(TAG_HEAD + length..).unwrap_or_default();
            return match behind.starts_with(b"fLaC") {
                true => Some(AudioKind::Flac),
                false => Some(AudioKind::Mp3),
            };
        }
        match bytes {
            [b'R', b'I', b'F', b'F' | b'X', ..] | [b'R', b'F', b'6', b'4', ..]
                if bytes.get(8..12) == Some(b"WAVE") =>
            {
                Some(AudioKind::Wav)
            }
            [b'O', b'g', b'g', b'S', ..] => Some(AudioKind::Ogg),
            [b'f', b'L', b'a', b'C', ..] => Some(AudioKind::Flac),
            // Eleven bits set, and a layer: without one it is AAC.
            [0xFF, second, ..] if second & 0xE0 == 0xE0 && second & 0x06 != 0 => Some(AudioKind::Mp3),
            _ => None,
        }
    }

    /// Returns the media type of such a file: `audio/wav`.
    pub fn content_type(self) -> &'static str {
        match self {
            AudioKind::Wav => "audio/wav",
            AudioKind::Mp3 => "audio/mpeg",
            AudioKind::Ogg => "audio/ogg",
            AudioKind::Flac => "audio/flac",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_known_by_how_they_begin() {
        let tagged = |behind: &[u8]| [b"ID3\x04\0\0\0\0\x01\x02", &[0; 130][..], behind].concat();
        for (bytes, expected) in [
            (b"RIFF\0\0\0\0WAVEfmt ".to_vec(), Some(AudioKind::Wav)),
            (b"RF64\xFF\xFF\xFF\xFFWAVEds64".to_vec(), Some(AudioKind::Wav)),
            (b"RIFF\0\0\0\0AVI ".to_vec(), None),
            (b"RIFF".to_vec(), None),
            (b"OggS\0".to_vec(), Some(AudioKind::Ogg)),
            (b"fLaC\0".to_vec(), Some(AudioKind::Flac)),
            (tagged(b"fLaC"), Some(AudioKind::Flac)),
            (tagged(b"\xFF\xFB"), Some(AudioKind::Mp3)),
            (b"ID3\x04\0\0\x7F\x7F\x7F\x7F".to_vec(), Some(AudioKind::Mp3)),
            (b"ID3".to_vec(), None),
            (vec![0xFF, 0xFB, 0x90, 0x64], Some(AudioKind::Mp3)),
            (vec![0xFF, 0xF1, 0x50, 0x80], None),
            (b"<!DOCTYPE html>".to_vec(), None),
            (vec![0xFF], None),
            (Vec::new(), None),
        ] {
            assert_eq!(AudioKind::of(&bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(begin in prop::sample::select(vec![&b"ID3"[..], b"RIFF", b"RF64", b"\xFF", b""]), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = AudioKind::of(&[begin, &bytes].concat());
        }
    }
}
