//! Owns writing WAV files (PCM, 16 bits) that can be played at every moment of their making. Opens no file; where it writes to is given.

use std::io::{self, Seek, SeekFrom, Write};

/// Octets before the audio.
const HEAD: u32 = 44;

/// Octets of the file that its first length field does not count.
const UNCOUNTED: u32 = 8;

/// Audio that is written without being told in the head yet, at most: what a recording may lack that was cut off.
const UNTOLD_MS: u32 = 200;

/// Zeros that are written at a time.
const ZEROS: [u8; 8192] = [0; 8192];

/// Where a WAV file is written to.
pub trait WavOut: Write + Seek {
    /// Writes so many zeros. A file can be made longer by them without taking room on its disk.
    ///
    /// # Errors
    /// As for writing.
    fn write_zeros(&mut self, octets: u64) -> io::Result<()> {
        let mut left = octets;
        while left > 0 {
            let piece = left.min(ZEROS.len() as u64);
            self.write_all(&ZEROS[..piece as usize])?;
            left -= piece;
        }
        Ok(())
    }
}

impl<T: AsRef<[u8]>> WavOut for io::Cursor<T> where io::Cursor<T>: Write {}

/// Writes a WAV file (PCM, 16 bits, interleaved).
///
/// The head is valid from the beginning on: it never tells more audio than there is, and 200 ms less at most. So a file whose writer was
/// killed plays as it lies. A write that failed, as on a full disk, leaves a valid file too, and the next one goes on behind what was
/// written as a whole.
#[derive(Debug)]
pub struct WavWriter<W: WavOut> {
    out: W,
    rate_hz: u32,
    channels: u16,
    /// Octets of audio that are there as a whole, and those that the head tells.
    octets: u32,
    told: u32,
    /// `out` stands behind the audio.
    is_at_end: bool,
    buffer: Vec<u8>,
}

impl<W: WavOut> WavWriter<W> {
    /// Begins a file of so many channels, 1 at least, at the beginning of `out`.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::InvalidInput`] for no channel or no rate.
    pub fn new(out: W, rate_hz: u32, channels: u16) -> io::Result<WavWriter<W>> {
        let has_format = rate_hz > 0 && channels > 0 && u16::try_from(u32::from(channels) * 2).is_ok();
        if !has_format || rate_hz.checked_mul(u32::from(channels) * 2).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no such audio format",
            ));
        }
        let mut writer = WavWriter {
            out,
            rate_hz,
            channels,
            octets: 0,
            told: 0,
            is_at_end: false,
            buffer: Vec::new(),
        };
        writer.tell()?;
        Ok(writer)
    }

    /// Goes on with a file of this kind that `out` holds, behind so many octets of audio.
    ///
    /// # Errors
    /// As for [`WavWriter::new`].
    pub fn resume(out: W, rate_hz: u32, channels: u16, octets: u32) -> io::Result<WavWriter<W>> {
        let frame = u32::from(channels.max(1)) * 2;
        let mut writer = WavWriter {
            out,
            rate_hz,
            channels: channels.max(1),
            octets: octets - octets % frame,
            told: 0,
            is_at_end: false,
            buffer: Vec::new(),
        };
        if rate_hz == 0 || writer.octets.checked_add(HEAD).is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        writer.tell()?;
        Ok(writer)
    }

    /// Appends samples, of all channels in turn.
    ///
    /// # Errors
    /// Those of `out`, then none of them counts; [`io::ErrorKind::InvalidInput`] where channels are missing at the end;
    /// [`io::ErrorKind::FileTooLarge`] where a WAV file can hold no more (4 GiB).
    pub fn write(&mut self, samples: &[i16]) -> io::Result<()> {
        if !samples.len().is_multiple_of(usize::from(self.channels)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not whole frames"));
        }
        let octets = self.octets_with(samples.len() as u64 * 2)?;
        self.go_to_end()?;
        self.buffer.clear();
        self.buffer
            .extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.is_at_end = false;
        self.out.write_all(&self.buffer)?;
        self.is_at_end = true;
        self.grow(octets)
    }

    /// Appends so many frames of silence.
    ///
    /// # Errors
    /// As for [`WavWriter::write`].
    pub fn write_silence(&mut self, frames: u64) -> io::Result<()> {
        let more = frames.saturating_mul(u64::from(self.channels) * 2);
        let octets = self.octets_with(more)?;
        self.go_to_end()?;
        self.is_at_end = false;
        self.out.write_zeros(more)?;
        self.is_at_end = true;
        self.grow(octets)
    }

    /// Returns the length of the audio with so much more of it.
    fn octets_with(&self, more: u64) -> io::Result<u32> {
        let octets = u32::try_from(u64::from(self.octets).saturating_add(more)).ok();
        octets
            .filter(|octets| octets.checked_add(HEAD).is_some())
            .ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }

    fn grow(&mut self, octets: u32) -> io::Result<()> {
        self.octets = octets;
        let untold = u64::from(self.octets - self.told);
        if untold * 1000 >= u64::from(self.octets_per_second()) * u64::from(UNTOLD_MS) {
            self.tell()?;
        }
        Ok(())
    }

    /// Tells all of the audio in the head.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.told != self.octets {
            self.tell()?;
        }
        self.out.flush()
    }

    /// Ends the file and returns what was written to.
    ///
    /// # Errors
    /// Those of `out`; the file plays all the same, as far as it was told.
    pub fn finish(mut self) -> io::Result<W> {
        self.sync()?;
        Ok(self.out)
    }

    /// Returns what is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Returns the length of the audio in octets.
    pub fn octets(&self) -> u32 {
        self.octets
    }

    /// Returns how much audio there is, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        u64::from(self.octets) * 1000 / u64::from(self.octets_per_second())
    }

    fn octets_per_second(&self) -> u32 {
        self.rate_hz * u32::from(self.channels) * 2
    }

    fn go_to_end(&mut self) -> io::Result<()> {
        if !self.is_at_end {
            self.out.seek(SeekFrom::Start(u64::from(HEAD + self.octets)))?;
            self.is_at_end = true;
        }
        Ok(())
    }

    /// Writes the head in one piece, so that no half of it can be there.
    fn tell(&mut self) -> io::Result<()> {
        self.is_at_end = false;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&self.head())?;
        self.told = self.octets;
        Ok(())
    }

    fn head(&self) -> [u8; HEAD as usize] {
        let frame = self.channels * 2;
        let mut head = [0; HEAD as usize];
        let fields: [&[u8]; 13] = [
            b"RIFF",
            &(self.octets + HEAD - UNCOUNTED).to_le_bytes(),
            b"WAVE",
            b"fmt ",
            &16_u32.to_le_bytes(),
            &1_u16.to_le_bytes(),
            &self.channels.to_le_bytes(),
            &self.rate_hz.to_le_bytes(),
            &self.octets_per_second().to_le_bytes(),
            &frame.to_le_bytes(),
            &16_u16.to_le_bytes(),
            b"data",
            &self.octets.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            head[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        head
    }
}

/// Returns a WAV file of one channel.
///
/// # Errors
/// As for [`WavWriter`], of which only those about the format and the size can occur.
pub fn wav(rate_hz: u32, samples: &[i16]) -> io::Result<Vec<u8>> {
    let file = io::Cursor::new(Vec::with_capacity(HEAD as usize + samples.len() * 2));
    let mut writer = WavWriter::new(file, rate_hz, 1)?;
    writer.write(samples)?;
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImportError, ImportLimits, import};
    use proptest::prelude::*;

    /// A file that can be looked at after each write, and on a disk with so much room.
    #[derive(Debug)]
    struct Disk {
        file: io::Cursor<Vec<u8>>,
        /// Octets that it may still grow by.
        room: usize,
        /// What was there after each write.
        seen: Vec<Vec<u8>>,
    }

    impl Disk {
        fn new(room: usize) -> Disk {
            Disk {
                file: io::Cursor::default(),
                room,
                seen: Vec::new(),
            }
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let end = self.file.position() as usize + bytes.len();
            let grows = end.saturating_sub(self.file.get_ref().len());
            let fits = bytes.len() - grows.saturating_sub(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= grows.min(self.room);
            let written = self.file.write(&bytes[..fits])?;
            self.seen.push(self.file.get_ref().clone());
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl WavOut for Disk {}

    impl Seek for Disk {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.file.seek(to)
        }
    }

    fn length_at(file: &[u8], at: usize) -> usize {
        u32::from_le_bytes(*file[at..].first_chunk().unwrap()) as usize
    }

    /// Checks that a file is good as it lies, and returns the octets of audio that it tells.
    fn told(file: &[u8], rate_hz: u32, channels: u16) -> Vec<u8> {
        assert_eq!(
            (&file[..4], &file[8..16], &file[36..40]),
            (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..])
        );
        let audio = length_at(file, 40);
        assert_eq!(length_at(file, 4), audio + 36);
        assert_eq!(length_at(file, 24), rate_hz as usize);
        assert!(audio.is_multiple_of(2 * usize::from(channels)), "whole frames");
        assert!(44 + audio <= file.len(), "it tells no more than there is");
        file[44..44 + audio].to_vec()
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let samples: Vec<i16> = (0..5000)
            .map(|n: i32| (n * 7919 % 65_536 - 32_768) as i16)
            .collect();
        for rate_hz in crate::RATES_HZ {
            let audio =
                import(&wav(rate_hz, &samples).unwrap(), ImportLimits::default()).expect("a good file");
            assert_eq!((audio.rate_hz, &audio.samples), (rate_hz, &samples));
        }
        let empty = wav(8000, &[]).unwrap();
        assert_eq!(import(&empty, ImportLimits::default()), Err(ImportError::Empty));
    }

    #[test]
    fn a_file_goes_on_where_it_was_left() {
        let mut whole = WavWriter::new(io::Cursor::new(Vec::new()), 8000, 1).unwrap();
        whole.write(&[1, 2, 3]).unwrap();
        let left = whole.octets();
        let mut resumed = WavWriter::resume(whole.finish().unwrap(), 8000, 1, left).unwrap();
        resumed.write_silence(2).unwrap();
        resumed.write(&[4]).unwrap();
        let file = resumed.finish().unwrap().into_inner();
        let audio = import(&file, ImportLimits::default()).unwrap();
        assert_eq!(audio.samples, [1, 2, 3, 0, 0, 4]);
    }

    #[test]
    fn formats_and_sizes_that_cannot_be_are_refused() {
        for (rate_hz, channels) in [(0, 1), (8000, 0), (8000, 40_000), (u32::MAX, 2)] {
            let error = WavWriter::new(Disk::new(100), rate_hz, channels).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let mut stereo = WavWriter::new(Disk::new(100), 8000, 2).unwrap();
        assert_eq!(
            stereo.write(&[1, 2, 3]).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        let mut full = WavWriter::new(Disk::new(100), 8000, 1).unwrap();
        full.octets = u32::MAX - HEAD - 1;
        full.told = full.octets;
        assert_eq!(full.write(&[1]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    proptest! {
        #[test]
        fn a_file_is_good_after_every_write_and_lacks_little(
            rate_hz in prop::sample::select(crate::RATES_HZ.to_vec()),
            channels in 1_u16..=2,
            blocks in prop::collection::vec((0_usize..1500, any::<bool>()), 0..40),
            room in prop_oneof![Just(usize::MAX), 44_usize..60_000],
        ) {
            let mut writer = WavWriter::new(Disk::new(room), rate_hz, channels).unwrap();
            let mut given = Vec::new();
            for (number, (frames, is_silence)) in blocks.into_iter().enumerate() {
                let samples: Vec<i16> =
                    (0..frames * usize::from(channels))
                    .map(|n| if is_silence { 0 } else { (n * 31 + number * 1009) as i16 })
                    .collect();
                let before = writer.out.seen.len();
                let written = match is_silence {
                    true => writer.write_silence(frames as u64),
                    false => writer.write(&samples),
                };
                if written.is_ok() {
                    given.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
                } else {
                    prop_assert!(room != usize::MAX);
                }
                for file in &writer.out.seen[before..] {
                    let told = told(file, rate_hz, channels);
                    prop_assert!(told.len() <= given.len() && told[..] == given[..told.len()]);
                }
                let told = told(&writer.out.seen[writer.out.seen.len() - 1], rate_hz, channels);
                let missing = given.len() - told.len();
                prop_assert!(missing as u64 * 1000 < u64::from(rate_hz) * u64::from(channels) * 2 * 200);
            }
            prop_assert_eq!(writer.duration_ms(), given.len() as u64 * 1000 / (u64::from(rate_hz) * u64::from(channels) * 2));
            let disk = writer.finish().unwrap();
            prop_assert!(told(disk.file.get_ref(), rate_hz, channels) == given);
        }
    }
}
