//! Opus against opusenc and opusdec (Debian's opus-tools, with libopus 1.3): packets of every configuration, mono and stereo,
//! decode through our wrapper as they do there, and lost ones are concealed as there.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "opus_reference/ogg.rs"]
mod ogg;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use confab_codec::CodecKind;
use ogg::OggOpus;

/// Two seconds of something like speech, interleaved stereo at 48 kHz: pulses of a wandering pitch through two resonances,
/// swelling and falling, with noise; both channels share a part.
fn voice() -> Vec<i16> {
    let mut random = 1_u32;
    let mut past = [[0.0_f32; 2]; 4];
    let mut phase = 0.0_f32;
    (0..96_000)
        .flat_map(|n| {
            let time = n as f32 / 48_000.0;
            phase += (140.0 + 30.0 * (time * 5.0).sin()) / 48_000.0;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase = phase.fract();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = random.cast_signed() as f32 / 2_147_483_648.0;
            let swell = (time * 9.0).sin().abs() + 0.05;
            let input = swell * (pulse + 0.03 * noise);
            let mut resonate = |filter: usize, hz: f32| {
                let angle = std::f32::consts::TAU * hz / 48_000.0;
                let output = input + 1.98 * angle.cos() * past[filter][0] - 0.9801 * past[filter][1];
                past[filter] = [output, past[filter][0]];
                output
            };
            let shared = resonate(0, 500.0) + 0.5 * resonate(1, 1500.0);
            let left = shared + 0.4 * resonate(2, 900.0);
            let right = shared + 0.3 * resonate(3, 3000.0);
            [left, right].map(|sample| (sample * 900.0).clamp(-16_000.0, 16_000.0) as i16)
        })
        .collect()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs opus-tools"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let voice: Vec<u8> = voice().iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(folder.join("voice.raw"), voice).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn encode(&self, options: &[&str]) -> OggOpus {
        let (voice, file) = (self.path("voice.raw"), self.path("voice.opus"));
        let fixed = ["--quiet", "--raw", "--raw-rate", "48000", "--raw-chan", "2"];
        run("opusenc", &[&fixed[..], options, &[&voice, &file]].concat());
        ogg::read(&std::fs::read(file).unwrap())
    }

    /// What opusdec makes of the file last encoded, channels averaged.
    fn decode(&self, channels: usize, options: &[&str]) -> Vec<i16> {
        let (file, heard) = (self.path("voice.opus"), self.path("heard.raw"));
        let fixed = ["--quiet", "--no-dither", "--rate", "48000"];
        run("opusdec", &[&fixed[..], options, &[&file, &heard]].concat());
        let octets = std::fs::read(heard).unwrap();
        let samples: Vec<i32> = octets
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&octets| i32::from(i16::from_le_bytes(octets)))
            .collect();
        samples
            .chunks_exact(channels)
            .map(|moment| (moment.iter().sum::<i32>() / channels as i32) as i16)
            .collect()
    }
}

/// Decodes packets through our wrapper, concealing those that are lost, and drops the start as the file says.
fn decode(file: &OggOpus, mut lost: impl FnMut() -> bool) -> Vec<i16> {
    let mut decoder = CodecKind::Opus.decoder();
    let mut heard = Vec::new();
    for packet in &file.packets {
        let samples = decoder.samples(packet).unwrap();
        let mut out = vec![0; samples];
        if lost() {
            decoder.conceal(&mut out);
        } else {
            assert_eq!(decoder.decode(packet, &mut out), Ok(samples));
        }
        heard.extend(out);
    }
    heard.split_off(file.pre_skip)
}

/// Signal to difference in dB.
fn likeness_db(reference: &[i16], ours: &[i16]) -> f64 {
    let both = reference.len().min(ours.len());
    assert!(both > 90_000, "{} and {} samples", reference.len(), ours.len());
    let (mut signal, mut difference) = (1.0, 1.0);
    for (&a, &b) in reference[..both].iter().zip(ours) {
        signal += f64::from(a).powi(2);
        difference += (f64::from(a) - f64::from(b)).powi(2);
    }
    10.0 * (signal / difference).log10()
}

/// What makes opusenc choose each mode, libopus's numbers of the bandwidths, and the frames in milliseconds that there are of
/// them (RFC 6716, table 2).
const CONFIGURATIONS: [(&[&str], &[&str], &[&str]); 3] = [
    (SILK, &["1101", "1102", "1103"], &["10", "20", "40", "60"]),
    (HYBRID, &["1104", "1105"], &["10", "20"]),
    (CELT, &["1101", "1103", "1104", "1105"], &["2.5", "5", "10", "20"]),
];
const SILK: &[&str] = &["--speech", "--set-ctl-int", "4000=2048", "--bitrate", "20"];
const HYBRID: &[&str] = &["--speech", "--set-ctl-int", "4000=2048", "--bitrate", "36"];
const CELT: &[&str] = &["--music", "--set-ctl-int", "4000=2051", "--bitrate", "64"];

#[test]
fn every_configuration_mono_and_stereo_decodes_as_with_opusdec() {
    let folder = Folder::new("opus-configurations");
    let mut met = BTreeSet::new();
    let mut worst = [f64::INFINITY; 2];
    for (mode, bandwidths, frames) in CONFIGURATIONS {
        for (bandwidth, frame) in bandwidths.iter().flat_map(|b| frames.iter().map(move |f| (b, f))) {
            for channels in [1, 2] {
                let bandwidth = format!("4008={bandwidth}");
                let forced = format!("4022={channels}");
                let mut options = vec!["--framesize", frame, "--comp", "2"];
                options.extend(["--set-ctl-int", &bandwidth, "--set-ctl-int", &forced]);
                options.extend(mode);
                if channels == 1 {
                    options.push("--downmix-mono");
                }
                let file = folder.encode(&options);
                met.extend(file.packets.iter().map(|packet| packet[0] >> 2));
                let likeness = likeness_db(&folder.decode(channels, &[]), &decode(&file, || false));
                let worst = &mut worst[channels - 1];
                *worst = worst.min(likeness);
                let enough = [50.0, 35.0][channels - 1];
                assert!(likeness > enough, "{options:?}: {likeness:.1} dB");
            }
        }
    }
    println!(
        "least likeness to opusdec: mono {:.1} dB, mean of stereo {:.1} dB",
        worst[0], worst[1]
    );
    // All 32 configurations, each mono and stereo: the upper six bits of the first octet.
    assert_eq!(met, (0..64).collect());
}

/// The first numbers of the C library's `rand`, which opusdec asks which packets to lose.
fn rand() -> impl Iterator<Item = u32> {
    let mut state: Vec<u32> = vec![1];
    for n in 1..31 {
        let next = 16_807 * i64::from(state[n - 1]) % 2_147_483_647;
        state.push(next as u32);
    }
    for n in 31..34 {
        state.push(state[n - 31]);
    }
    for n in 34..344 {
        state.push(state[n - 31].wrapping_add(state[n - 3]));
    }
    (344..).map(move |n: usize| {
        state.push(state[n - 31].wrapping_add(state[n - 3]));
        state[n] >> 1
    })
}

#[test]
fn lost_packets_are_concealed_as_opusdec_conceals_them() {
    let folder = Folder::new("opus-losses");
    for (mode, frame) in [
        (SILK, "20"),
        (SILK, "60"),
        (HYBRID, "20"),
        (CELT, "10"),
        (CELT, "20"),
    ] {
        let options = [&["--framesize", frame, "--downmix-mono"], mode].concat();
        let file = folder.encode(&options);
        let mut random = rand();
        let mut losses = 0;
        let ours = decode(&file, || {
            let lost = 100.0 * random.next().unwrap() as f32 / 2_147_483_647.0 < 10.0;
            losses += u32::from(lost);
            lost
        });
        let likeness = likeness_db(&folder.decode(1, &["--packet-loss", "10"]), &ours);
        println!(
            "{options:?}: {losses} of {} lost, {likeness:.1} dB",
            file.packets.len()
        );
        assert!(losses > 0);
        // libopus 1.3 conceals CELT otherwise than 1.6 does.
        let enough = if mode == CELT { 3.0 } else { 20.0 };
        assert!(likeness > enough, "{options:?}: {likeness:.1} dB");
    }
}
