//! Owns 16-bit PCM WAV files as other phones record and play them.

use std::fs;
use std::io;
use std::path::Path;

/// Mono samples and their rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wav {
    /// Sampling rate in Hz.
    pub rate_hz: u32,
    /// Samples of the first channel.
    pub samples: Vec<i16>,
}

impl Wav {
    /// Reads a 16-bit PCM file. A data size of 0 or beyond the end means "to the end of the file": that is what a recorder leaves
    /// behind that was killed.
    pub fn read(path: &Path) -> io::Result<Self> {
        Self::parse(&fs::read(path)?).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: no 16-bit PCM", path.display()),
            )
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
            return None;
        }
        let mut rest = bytes.get(12..)?;
        let mut format = None;
        loop {
            let (id, size) = (rest.get(..4)?, u32_at(rest, 4)? as usize);
            let body = rest.get(8..)?;
            match id {
                b"fmt " => format = Some((u16_at(body, 2)?, u32_at(body, 4)?, u16_at(body, 14)?)),
                b"data" => {
                    let (channels, rate_hz, 16) = format? else {
                        return None;
                    };
                    let size = if size == 0 {
                        body.len()
                    } else {
                        size.min(body.len())
                    };
                    let frames = body[..size].chunks_exact(2 * usize::from(channels.max(1)));
                    let samples = frames
                        .map(|frame| i16::from_le_bytes([frame[0], frame[1]]))
                        .collect();
                    return Some(Self { rate_hz, samples });
                }
                _ => {}
            }
            rest = body.get(size + size % 2..)?;
        }
    }

    /// Writes a mono file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let size = u32::try_from(2 * self.samples.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(44 + size as usize);
        bytes.extend_from_slice(b"RIFF");
        bytes.extend_from_slice(&(36 + size).to_le_bytes());
        bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        bytes.extend_from_slice(&self.rate_hz.to_le_bytes());
        bytes.extend_from_slice(&(2 * self.rate_hz).to_le_bytes());
        bytes.extend_from_slice(b"\x02\0\x10\0data");
        bytes.extend_from_slice(&size.to_le_bytes());
        self.samples
            .iter()
            .for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes()));
        fs::write(path, bytes)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::TempDir;

    #[test]
    fn a_written_file_reads_back_and_a_broken_one_does_not() {
        let directory = TempDir::new("wav").expect("a directory");
        let path = directory.path().join("a.wav");
        let wav = Wav {
            rate_hz: 8000,
            samples: vec![0, 1, -1, i16::MAX, i16::MIN],
        };
        wav.write(&path).expect("written");
        assert_eq!(Wav::read(&path).expect("readable"), wav);
        let mut bytes = fs::read(&path).expect("readable");
        bytes[40..44].fill(0);
        assert_eq!(Wav::parse(&bytes), Some(wav), "a size that was never filled in");
        for length in [0, 11, 20, 43] {
            assert_eq!(Wav::parse(&bytes[..length]), None, "{length}");
        }
    }
}
