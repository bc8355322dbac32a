//! One track of a recording on the disk: WAV files of 2 GiB at most, one behind the other. Owns what of it could not be written yet;
//! never decides what becomes of the rest.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use confab_recording::{Stretch, WavOut, WavWriter};

use super::sheet::AudioFile;

/// Octets of audio that a file has at most: with the head, 2 GiB less a little.
const MOST_OCTETS: u64 = (1 << 31) - (1 << 20);

/// A file that is written where its own cursor stands: a seek is no system call, and silence takes no room on the disk.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    at: u64,
    length: u64,
}

impl Disk {
    fn new(file: File) -> io::Result<Disk> {
        let length = file.metadata()?.len();
        Ok(Disk { file, at: 0, length })
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.at)?;
        self.at += written as u64;
        self.length = self.length.max(self.at);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl WavOut for Disk {
    fn write_zeros(&mut self, octets: u64) -> io::Result<()> {
        let end = self.at + octets;
        // What a write that failed has left behind the audio is no silence.
        if self.length > self.at {
            self.file.set_len(self.at)?;
        }
        self.file.set_len(end)?;
        (self.at, self.length) = (end, end);
        Ok(())
    }
}

/// Of whom a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Mix,
    Server,
    Participant(u64),
    /// A leg that nobody on the roster had.
    Leg(u64),
}

impl Of {
    fn stem(self) -> String {
        match self {
            Of::Mix => "mix".to_owned(),
            Of::Server => "server".to_owned(),
            Of::Participant(id) => format!("participant-{id}"),
            Of::Leg(id) => format!("leg-{id}"),
        }
    }

    /// Reads what the name of a file says, and which part it is, from 1 on.
    pub(super) fn parse(name: &str) -> Option<(Of, u32)> {
        let stem = name.strip_suffix(".wav")?;
        let (stem, part) = match stem.split_once('.') {
            Some((stem, part)) => (stem, part.parse().ok()?),
            None => (stem, 1),
        };
        let of = match stem.split_once('-') {
            None if stem == "mix" => Of::Mix,
            None if stem == "server" => Of::Server,
            Some(("participant", id)) => Of::Participant(id.parse().ok()?),
            Some(("leg", id)) => Of::Leg(id.parse().ok()?),
            _ => return None,
        };
        Some((of, part))
    }

    fn file_name(self, part: u32) -> String {
        match part {
            1 => format!("{}.wav", self.stem()),
            part => format!("{}.{part}.wav", self.stem()),
        }
    }

    /// Returns how it is told of a file.
    pub(super) fn told(self, name: String, begin_ms: u64, duration_ms: u64, octets: u64) -> AudioFile {
        AudioFile {
            name,
            of: match self {
                Of::Mix => "mix",
                Of::Server => "server",
                Of::Participant(_) | Of::Leg(_) => "participant",
            }
            .to_owned(),
            participant_id: match self {
                Of::Participant(id) => Some(id),
                _ => None,
            },
            begin_ms,
            duration_ms,
            octets,
        }
    }
}

/// A track that is being written.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    of: Of,
    rate_hz: u32,
    most_octets: u64,
    /// The part that is written, from 1 on, and octets of audio in it while it is closed.
    part: u32,
    closed_octets: u32,
    open: Option<WavWriter<Disk>>,
    /// Silence that is to come before what comes next: what could not be written.
    owed: u64,
    /// The parts that are full.
    full: Vec<AudioFile>,
}

impl Parts {
    pub(super) fn new(folder: &Path, of: Of, rate_hz: u32) -> Parts {
        Parts {
            folder: folder.to_owned(),
            of,
            rate_hz,
            most_octets: MOST_OCTETS,
            part: 1,
            closed_octets: 0,
            open: None,
            owed: 0,
            full: Vec::new(),
        }
    }

    /// Makes the first file.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.opened().map(drop)
    }

    /// Appends audio. What cannot be written is lost, and silence in its place as soon as something can.
    pub(super) fn write(&mut self, stretch: &Stretch) -> io::Result<()> {
        self.owed += stretch.silence;
        let written = self
            .write_owed()
            .and_then(|()| self.write_samples(&stretch.samples));
        if written.is_err() {
            self.owed += stretch.samples.len() as u64;
        }
        written
    }

    /// Takes note of samples that never came here.
    pub(super) fn miss(&mut self, samples: u64) {
        self.owed += samples;
    }

    fn write_owed(&mut self) -> io::Result<()> {
        while self.owed > 0 {
            let frames = self.owed.min(self.room()?);
            let writer = self.opened()?;
            writer.write_silence(frames)?;
            writer.sync()?;
            self.owed -= frames;
        }
        Ok(())
    }

    /// All of the samples, or none of them.
    fn write_samples(&mut self, samples: &[i16]) -> io::Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        if self.room()? < samples.len() as u64 {
            self.roll_over()?;
        }
        let writer = self.opened()?;
        writer.write(samples)?;
        writer.sync()
    }

    /// Returns how many samples have room in the part, at least one; begins the next part when there are none.
    fn room(&mut self) -> io::Result<u64> {
        let most = self.most_octets;
        let room = |octets: u32| (most - u64::from(octets).min(most)) / 2;
        let writer = self.opened()?;
        match room(writer.octets()) {
            0 => {
                self.roll_over()?;
                Ok(room(0))
            }
            left => Ok(left),
        }
    }

    fn roll_over(&mut self) -> io::Result<()> {
        if let Some(mut writer) = self.open.take() {
            if let Err(error) = writer.sync() {
                self.open = Some(writer);
                return Err(error);
            }
            let told = self.told_of(writer.octets());
            self.full.push(told);
            self.part += 1;
            self.closed_octets = 0;
        }
        Ok(())
    }

    fn told_of(&self, octets: u32) -> AudioFile {
        let begin_ms = self.full.iter().map(|full| full.duration_ms).sum();
        let duration_ms = u64::from(octets) * 500 / u64::from(self.rate_hz);
        let name = self.of.file_name(self.part);
        self.of.told(name, begin_ms, duration_ms, u64::from(octets) + 44)
    }

    fn opened(&mut self) -> io::Result<&mut WavWriter<Disk>> {
        if self.open.is_none() {
            let path = self.folder.join(self.of.file_name(self.part));
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true);
            let file = options.truncate(self.closed_octets == 0).open(path)?;
            let disk = Disk::new(file)?;
            let writer = match self.closed_octets {
                0 => WavWriter::new(disk, self.rate_hz, 1),
                octets => WavWriter::resume(disk, self.rate_hz, 1, octets),
            };
            self.open = Some(writer?);
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Returns a second handle of the file, to bring it to the disk with.
    pub(super) fn handle(&self) -> Option<File> {
        self.open.as_ref()?.get_ref().file.try_clone().ok()
    }

    /// Closes the file until more comes.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        if let Some(mut writer) = self.open.take() {
            self.closed_octets = writer.octets();
            writer.sync()?;
        }
        Ok(())
    }

    /// Ends the track and tells its files. What was owed and cannot be written is left out.
    pub(super) fn finish(mut self) -> (Vec<AudioFile>, io::Result<()>) {
        let mut outcome = self.write_owed();
        let octets = match &mut self.open {
            Some(writer) => {
                let synced = writer.sync().and_then(|()| writer.get_ref().file.sync_data());
                outcome = outcome.and(synced);
                writer.octets()
            }
            None => self.closed_octets,
        };
        let last = self.told_of(octets);
        self.full.push(last);
        (self.full, outcome)
    }
}

/// Returns how long the audio of a WAV file of ours is, in octets, by its head or what is behind it, whichever is more; and makes the head
/// say so. What was interrupted in the middle of a sample ends before it.
pub(super) fn mend(path: &Path, rate_hz: u32) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let octets = u32::try_from(length.saturating_sub(44).min(u64::from(u32::MAX - 64))).unwrap_or(0);
    let whole = octets - octets % 2;
    WavWriter::resume(Disk::new(file)?, rate_hz, 1, whole)?.finish()?;
    Ok(u64::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(silence: u64, samples: &[i16]) -> Stretch {
        Stretch {
            silence,
            samples: samples.to_vec(),
        }
    }

    fn read(path: &Path) -> Vec<i16> {
        confab_testkit::wav::Wav::read(path).unwrap().samples
    }

    #[test]
    fn a_track_goes_on_in_the_next_file_when_one_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = Parts::new(folder.path(), Of::Participant(7), 8000);
        parts.most_octets = 200;
        parts.write(&stretch(30, &[1; 60])).unwrap();
        parts.rest().unwrap();
        parts.write(&stretch(150, &[2; 90])).unwrap();
        let (files, outcome) = parts.finish();
        outcome.unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "participant-7.wav",
                "participant-7.2.wav",
                "participant-7.3.wav",
                "participant-7.4.wav"
            ]
        );
        assert!(files.iter().all(|file| file.participant_id == Some(7)));
        let whole: Vec<i16> = names
            .iter()
            .flat_map(|name| read(&folder.path().join(name)))
            .collect();
        let expected = [vec![0; 30], vec![1; 60], vec![0; 150], vec![2; 90]].concat();
        assert_eq!(whole, expected);
        for (part, name) in (1..).zip(names) {
            assert_eq!(Of::parse(name), Some((Of::Participant(7), part)));
        }
    }

    #[test]
    fn what_could_not_be_written_is_silence_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("gone");
        let mut parts = Parts::new(&folder, Of::Mix, 8000);
        assert!(parts.write(&stretch(5, &[1; 10])).is_err());
        std::fs::create_dir(&folder).unwrap();
        parts.miss(3);
        parts.write(&stretch(0, &[2; 4])).unwrap();
        let (files, outcome) = parts.finish();
        outcome.unwrap();
        assert_eq!(
            read(&folder.join(&files[0].name)),
            [vec![0; 18], vec![2; 4]].concat()
        );
    }

    #[test]
    fn a_file_that_was_interrupted_is_as_long_as_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = Parts::new(folder.path(), Of::Mix, 8000);
        parts.write(&stretch(0, &[5; 100])).unwrap();
        let path = folder.path().join("mix.wav");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([6, 0, 6, 0, 6]);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(mend(&path, 8000).unwrap(), 204);
        assert_eq!(read(&path), [vec![5; 100], vec![6; 2]].concat());
    }

    #[test]
    fn other_names_are_no_tracks() {
        for name in [
            "mix",
            "mix.x.wav",
            "participant-.wav",
            "recording.json",
            "mix-1.wav",
            "a.wav",
        ] {
            assert_eq!(Of::parse(name), None, "{name}");
        }
    }
}
