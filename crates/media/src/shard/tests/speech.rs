//! Speech through a leg over a path that loses and delays packets, in simulated time: what `bench/quality/quality.py` compares with what
//! was said. The machine's own stalls are not in it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use confab_testkit::codec::{Codec, Decoder, Encoder, OpusEncoding};
use confab_testkit::netem::{Loss, NetworkPath, PathConfig};
use confab_testkit::rtp::RtpView;

use super::world::{MS, World, media};
use crate::config::{CodecKind, LegMedia};
use crate::io::Channel;
use crate::stats::LegStats;

const PTIME_MS: u32 = 20;
const TAIL_NS: u64 = 800 * MS;

/// One file to be said and one to be heard, of mono samples of 16 bits at the codec's rate.
struct Job {
    codec: Codec,
    kind: CodecKind,
    input: PathBuf,
    output: PathBuf,
    seed: u64,
    path: PathConfig,
    opus: OpusEncoding,
    room_hz: u32,
}

impl Job {
    /// Reads `CODEC SEED LOSS BURST JITTER_MS REORDERS FEC_PERCENT BITRATE ROOM_HZ INPUT OUTPUT`. A room of less than the codec's
    /// rate has a talker who codes no more than that.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (codec, kind) = match words.next()? {
            "pcmu" => (Codec::Pcmu, CodecKind::Pcmu),
            "pcma" => (Codec::Pcma, CodecKind::Pcma),
            "g722" => (Codec::G722, CodecKind::G722),
            "opus" => (Codec::Opus, CodecKind::Opus),
            _ => return None,
        };
        let seed = words.next()?.parse().ok()?;
        let mut number = || words.next()?.parse::<f64>().ok();
        let (loss, burst, jitter_ms, reorders) = (number()?, number()?, number()?, number()?);
        let (fec_percent, bitrate_bps, room_hz) = (number()?, number()?, number()? as u32);
        Some(Job {
            codec,
            kind,
            seed,
            path: PathConfig {
                loss: if burst > 1.0 {
                    Loss::bursts(loss, burst)
                } else {
                    Loss::Uniform(loss)
                },
                jitter: Duration::from_micros((jitter_ms * 1000.0) as u64),
                jitter_reorders: reorders > 0.0,
                ..PathConfig::default()
            },
            opus: OpusEncoding {
                bitrate_bps: bitrate_bps as u32,
                fec: fec_percent > 0.0,
                loss_percent: fec_percent as u8,
                dtx: false,
                bandwidth_hz: room_hz,
            },
            room_hz,
            input: words.next()?.into(),
            output: words.next()?.into(),
        })
    }

    /// The packets of what is said, as they leave the path: when, and their bytes.
    fn departures(&self, said: &[i16]) -> Vec<(u64, Vec<u8>)> {
        let mut encoder = Encoder::new(self.codec, PTIME_MS, self.opus);
        let mut path = NetworkPath::new(self.path.clone(), self.seed);
        let start = Instant::now();
        // Each seed at its own phase of a packet's time.
        let mut sent_at = start + Duration::from_micros(self.seed * 3700 % 20_000);
        let units = self.codec.rtp_clock_hz() * PTIME_MS / 1000;
        for (number, samples) in said.chunks_exact(self.codec.samples_in(PTIME_MS)).enumerate() {
            let mut datagram = Vec::new();
            RtpView {
                marker: number == 0,
                payload_type: self.codec.payload_type(),
                sequence: (number as u16).wrapping_add(1000),
                timestamp: (number as u32).wrapping_mul(units),
                ssrc: 0xbeef,
                payload: &encoder.encode(samples),
            }
            .write(&mut datagram);
            path.send(sent_at, datagram);
            sent_at += Duration::from_millis(u64::from(PTIME_MS));
        }
        let mut departures = Vec::new();
        while let Some(at) = path.next_at() {
            departures.extend(path.poll(at).map(|bytes| ((at - start).as_nanos() as u64, bytes)));
        }
        departures
    }

    /// Says it; returns what is heard, and what the leg measured.
    fn pass(&self, said: &[i16]) -> (Vec<i16>, LegStats) {
        let mut world = World::new();
        let conference = world.conference_at(self.room_hz, 20, 0, 2);
        let phones = [0, 1].map(|number| {
            world.leg(&LegMedia {
                coding: self.kind.into(),
                send_pt: self.codec.payload_type(),
                recv_pts: vec![self.codec.payload_type()],
                ..media(number)
            })
        });
        for phone in &phones {
            world.join(phone, conference);
        }
        world.turns(60);
        world.forget();
        let [talker, listener] = phones;
        let mut decoder = Decoder::new(self.codec);
        let mut heard = Vec::new();
        let mut listen = |world: &World| {
            while let Some(packet) = world.heard(&listener, Channel::Rtp) {
                let view = RtpView::parse(packet.bytes()).expect("the server sends RTP");
                decoder.decode_into(view.payload, &mut heard);
            }
        };
        let start_ns = world.now_ns();
        for (due_ns, datagram) in self.departures(said) {
            world.run_until(start_ns + due_ns);
            world.deliver(&talker, Channel::Rtp, talker.address, &datagram, 0);
            listen(&world);
        }
        world.run_until(world.now_ns() + TAIL_NS);
        listen(&world);
        (heard, world.stats(&talker))
    }
}

#[test]
fn speech_comes_through_a_path_with_losses() {
    let line = "pcmu 1 0.05 1 0 0 0 0 8000 - -";
    let job = Job::read(line).expect("a job");
    let said: Vec<i16> = (0..8000 * 4)
        .map(|n| ((f64::from(n) * 0.3).sin() * 8000.0) as i16)
        .collect();
    let (heard, stats) = job.pass(&said);
    assert!(stats.packets_lost > 0 && stats.packets_late == 0, "{stats:?}");
    // A tone whose losses are concealed keeps nearly all of its power.
    let power = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
    let middle = &heard[8000..heard.len().min(8000 * 3)];
    let ratio = power(middle) / power(&said[..middle.len()]);
    assert!((0.85..1.1).contains(&ratio), "{ratio}");
}

#[test]
fn packets_that_overtake_each_other_are_late_no_more_often_than_the_policy_lets_them_be() {
    let said: Vec<i16> = (0..8000 * 10)
        .map(|n| ((n * 7919) % 4001 - 2000) as i16)
        .collect();
    for seed in 1..=5 {
        let job = Job::read(&format!("pcmu {seed} 0 1 40 1 0 0 8000 - -")).expect("a job");
        let (_, stats) = job.pass(&said);
        assert_eq!((stats.packets_received, stats.packets_lost), (500, 0));
        // One in a hundred, and what it takes to learn the path.
        assert!(stats.packets_late <= 10, "seed {seed}: {stats:?}");
    }
}

/// Runs the jobs of the file that the variable names, one in a line.
#[test]
#[ignore = "measures files that bench/quality/quality.py makes"]
fn speech_files_pass() {
    let list = std::env::var_os("CONFAB_SPEECH_JOBS").expect("CONFAB_SPEECH_JOBS names a file of jobs");
    let list = std::fs::read_to_string(list).expect("the list can be read");
    for line in list.lines() {
        let job = Job::read(line).expect("a job in each line");
        let octets = std::fs::read(&job.input).expect("the input can be read");
        let (pairs, _) = octets.as_chunks::<2>();
        let said: Vec<i16> = pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        let (heard, stats) = job.pass(&said);
        println!(
            "{line}: {} packets, {} lost, {} late, {} ms concealed, {} ms repaired, delay {:?} at the end",
            stats.packets_received,
            stats.packets_lost,
            stats.packets_late,
            stats.concealed_ms,
            stats.repaired_ms,
            stats.playout_delay,
        );
        let octets: Vec<u8> = heard.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(&job.output, octets).expect("the output can be written");
    }
}
