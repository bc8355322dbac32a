//! Owns WAV files whose lengths were never written, as a recorder leaves them that was interrupted or wrote into a pipe. Reads no audio.

use std::borrow::Cow;

/// Octets before the first chunk: `RIFF`, its length, `WAVE`.
const HEAD: usize = 12;

/// Octets of a chunk's name and length.
const CHUNK_HEAD: usize = 8;

/// Puts the lengths right that say less than the file holds: that of the whole, and with it that of the audio when it is 0. Everything
/// else, and what is no WAV file, stays as it is.
pub(crate) fn finished(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(lengths) = missing_lengths(bytes) else {
        return Cow::Borrowed(bytes);
    };
    let mut whole = bytes.to_vec();
    for (at, length) in lengths.into_iter().flatten() {
        whole[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    Cow::Owned(whole)
}

/// Where which length belongs; `None` when all are good.
fn missing_lengths(bytes: &[u8]) -> Option<[Option<(usize, u32)>; 2]> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..HEAD)? != b"WAVE" {
        return None;
    }
    let stated = length_at(bytes, 4)?;
    let mut at = HEAD;
    while bytes.get(at..at + 4)? != b"data" {
        let length = length_at(bytes, at + 4)? as usize;
        // Chunks begin at even places.
        at = at.checked_add(CHUNK_HEAD + length)?.checked_add(length % 2)?;
    }
    let audio = length_at(bytes, at + 4)?;
    let begin = at + CHUNK_HEAD;
    let end = begin.checked_add(audio as usize)?.min(bytes.len());
    if stated as usize + CHUNK_HEAD >= end && stated != 0 {
        return None;
    }
    let whole = (4, u32::try_from(bytes.len() - CHUNK_HEAD).ok()?);
    let rest = u32::try_from(bytes.len() - begin).ok()?;
    Some([Some(whole), (audio == 0).then_some((at + 4, rest))])
}

fn length_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with a chunk of three octets before its audio.
    fn file(stated: u32, audio: u32) -> Vec<u8> {
        let mut bytes = b"RIFF....WAVEfmt \x03\0\0\0abc\0data....12345678".to_vec();
        bytes[4..8].copy_from_slice(&stated.to_le_bytes());
        bytes[28..32].copy_from_slice(&audio.to_le_bytes());
        bytes
    }

    #[test]
    fn lengths_that_were_never_written_are_those_of_what_is_there() {
        let good = file(32, 8);
        for (stated, audio) in [(0, 0), (0, 8), (8, 8), (31, 8)] {
            assert_eq!(*finished(&file(stated, audio)), good, "{stated}, {audio}");
        }
    }

    #[test]
    fn whatever_is_not_unfinished_stays() {
        for (stated, audio) in [(32, 8), (32, 4), (32, 0), (u32::MAX, u32::MAX), (900, 8)] {
            let bytes = file(stated, audio);
            assert!(matches!(finished(&bytes), Cow::Borrowed(_)), "{stated}, {audio}");
        }
        for bytes in [
            &b"RIFF"[..],
            b"",
            b"RIFF\0\0\0\0WAVE",
            b"OggS........",
            b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff",
        ] {
            assert_eq!(*finished(bytes), *bytes);
        }
    }

    proptest! {
        #[test]
        fn only_lengths_change(tail in prop::collection::vec(any::<u8>(), 0..60), stated in any::<u32>()) {
            let mut bytes = b"RIFF....WAVE".to_vec();
            bytes[4..8].copy_from_slice(&stated.to_le_bytes());
            bytes.extend(tail);
            let whole = finished(&bytes);
            prop_assert_eq!(whole.len(), bytes.len());
            let changed = whole.iter().zip(&bytes).filter(|(a, b)| a != b).count();
            prop_assert!(changed <= 8);
        }
    }
}
