//! A recording on real threads: legs come and go while recordings begin and end, and every one of them is in its tracks.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use confab_media::{
    Clip, CodecKind, ConferenceMedia, ConferenceMediaHandle, ExtendedReports, Hearers, JoinOptions, Lane,
    LegHandle, LegId, LegMedia, LegTap, MediaConfig, MediaDirection, MediaPlane, Play, RecordingTaps, Repeat,
    Sound, Tap, TapBlock, TrackChoice,
};
use confab_testkit::g711::Law;
use confab_testkit::ports::PortLease;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOM: Duration = Duration::from_secs(10);

fn start(ports: &PortLease, shards: usize) -> MediaPlane {
    let config = MediaConfig {
        bind: vec![LOCALHOST],
        ports: ports.range(),
        shards,
        ..MediaConfig::default()
    };
    MediaPlane::start(config).unwrap().0
}

fn media(remote: SocketAddr) -> LegMedia {
    LegMedia {
        remote,
        remote_rtcp: SocketAddr::new(remote.ip(), remote.port().wrapping_add(1)),
        rtcp_mux: false,
        srtp: None,
        extended_reports: ExtendedReports::default(),
        coding: CodecKind::Pcmu.into(),
        send_pt: 0,
        recv_pts: vec![0],
        alternatives: Vec::new(),
        telephone_event: None,
        comfort_noise: None,
        ptime_ms: 20,
        direction: MediaDirection::SendRecv,
        signalling_ip: remote.ip(),
        trusted_ips: Vec::new(),
    }
}

/// Says one value to each address, every 20 ms, until it is stopped.
fn talk(socket: &UdpSocket, to: &[(SocketAddr, i16)], stop: &AtomicBool) {
    let start = Instant::now();
    for number in 0u32.. {
        if stop.load(Relaxed) {
            return;
        }
        for (index, &(address, value)) in to.iter().enumerate() {
            let mut packet = vec![0x80, 0];
            packet.extend((number as u16).to_be_bytes());
            packet.extend((number * 160).to_be_bytes());
            packet.extend((0x1234_0000 + index as u32).to_be_bytes());
            packet.extend(Law::Mu.encode_block(&[value; 160]));
            socket.send_to(&packet, address).unwrap();
        }
        let next = start + Duration::from_millis(20) * (number + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// All that was in a tap, by its place.
type Track = HashMap<u64, Vec<i16>>;

/// A reader of one recording.
struct Recorder {
    taps: RecordingTaps,
    mix: Vec<(TapBlock, Vec<i16>)>,
    server: Track,
    legs: Vec<(LegId, Tap, Track)>,
}

fn read(tap: &mut Tap, track: &mut Track) {
    let mut samples = Vec::new();
    while let Some(block) = tap.next(&mut samples) {
        assert!(
            track.insert(block.at_ms, samples.clone()).is_none(),
            "once at a place"
        );
    }
}

impl Recorder {
    async fn start(conference: &ConferenceMediaHandle) -> Self {
        let taps = conference.record(TrackChoice::MixAndTracks, ROOM).await.unwrap();
        Recorder {
            taps,
            mix: Vec::new(),
            server: Track::new(),
            legs: Vec::new(),
        }
    }

    fn read(&mut self) {
        let tracks = self.taps.tracks.as_mut().unwrap();
        let mut samples = Vec::new();
        while let Some(block) = self.taps.mix.next(&mut samples) {
            self.mix.push((block, samples.clone()));
        }
        // A leg is here before the mix that it has a part in.
        while let Some(LegTap { leg, tap }) = tracks.next_leg() {
            self.legs.push((leg, tap, Track::new()));
        }
        assert_eq!(tracks.legs_missed(), 0);
        read(&mut tracks.server, &mut self.server);
        for (_, tap, track) in &mut self.legs {
            read(tap, track);
        }
    }

    /// Compares the sum of the parts with the whole.
    fn check(&self) {
        for (block, samples) in &self.mix {
            let parts = self.legs.iter().map(|(_, _, track)| track).chain([&self.server]);
            let mut sum = vec![0_i32; samples.len()];
            for part in parts.filter_map(|track| track.get(&block.at_ms)) {
                assert_eq!(part.len(), samples.len());
                for (sum, &sample) in sum.iter_mut().zip(part) {
                    *sum += i32::from(sample);
                }
            }
            let saturate = |&sum: &i32| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            assert!(
                sum.iter().map(saturate).eq(samples.iter().copied()),
                "{block:?}: {samples:?} and not {sum:?}"
            );
        }
    }

    fn tracks(&self, leg: &LegHandle) -> Vec<&Track> {
        let legs = self.legs.iter().filter(|(id, ..)| *id == leg.id());
        legs.map(|(.., track)| track).collect()
    }

    fn is_over(&self, leg: &LegHandle) -> bool {
        let mut legs = self.legs.iter();
        legs.rfind(|(id, ..)| *id == leg.id())
            .is_some_and(|(_, tap, _)| tap.is_over())
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it does not come to hold"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Legs that talk, with a socket that talks for them.
struct Talkers {
    legs: Vec<LegHandle>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Talkers {
    async fn start(plane: &MediaPlane, values: &[i16]) -> Self {
        let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        let mut legs = Vec::new();
        for _ in values {
            let leg = plane.open_leg(LOCALHOST).unwrap();
            leg.start(media(socket.local_addr().unwrap())).await.unwrap();
            legs.push(leg);
        }
        let to: Vec<_> = legs
            .iter()
            .zip(values)
            .map(|(leg, &value)| (leg.rtp_addr(), value))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || talk(&socket, &to, &stopped));
        Talkers { legs, stop, thread }
    }

    fn finish(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap();
    }
}

fn open() -> ConferenceMedia {
    ConferenceMedia {
        energy_level: 0,
        ..ConferenceMedia::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_of_legs_that_come_and_go_add_up_to_the_mix() {
    let ports = PortLease::take(40).unwrap();
    let plane = start(&ports, 2);
    let conferences = [(); 2].map(|()| plane.create_conference(open()).unwrap());
    let talkers = Talkers::start(&plane, &[988, 1980, 3900]).await;
    let [first, second, third] = &talkers.legs[..] else {
        unreachable!()
    };
    let conference = &conferences[0];
    // Nobody is in it yet.
    let mut recorder = Recorder::start(conference).await;
    first.join(conference, JoinOptions::default()).await.unwrap();
    second.join(conference, JoinOptions::default()).await.unwrap();
    let clip = Clip::new(8000, vec![500; 4000]).unwrap();
    let music = Play {
        repeat: Repeat::Forever,
        ..Play::once(Sound::clip(clip))
    };
    conference
        .play(Hearers::Everybody, Lane::Background, music)
        .await
        .unwrap();
    until(|| {
        recorder.read();
        recorder
            .mix
            .last()
            .is_some_and(|(_, samples)| samples[0] == 988 + 1980 + 500)
    })
    .await;
    // To another conference, on another shard.
    second
        .join(&conferences[1], JoinOptions::default())
        .await
        .unwrap();
    third.join(conference, JoinOptions::default()).await.unwrap();
    until(|| {
        recorder.read();
        let is_heard = recorder
            .mix
            .last()
            .is_some_and(|(_, samples)| samples[0] == 988 + 3900 + 500);
        is_heard && recorder.is_over(second)
    })
    .await;
    // And back.
    second.join(conference, JoinOptions::default()).await.unwrap();
    first.close().await;
    until(|| {
        recorder.read();
        let last = recorder.mix.last();
        recorder.is_over(first) && last.is_some_and(|(_, samples)| samples[0] == 1980 + 3900 + 500)
    })
    .await;
    recorder.check();
    assert_eq!(recorder.legs.len(), 4);
    let [before, after] = recorder.tracks(second)[..] else {
        panic!("one each time that it was there");
    };
    assert!(before.keys().max() < after.keys().min());
    drop(conferences);
    until(|| {
        recorder.read();
        recorder.taps.mix.is_over()
    })
    .await;
    recorder.check();
    assert!(recorder.legs.iter().all(|(_, tap, _)| tap.is_over()));
    talkers.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_while_recordings_begin_is_in_all_of_them() {
    let ports = PortLease::take(80).unwrap();
    let plane = start(&ports, 2);
    let conference = Arc::new(plane.create_conference(open()).unwrap());
    let elsewhere = Arc::new(plane.create_conference(open()).unwrap());
    let talkers = Talkers::start(&plane, &[988, 1980, 3900, 924, 860, 796]).await;
    let legs: Vec<_> = talkers.legs.into_iter().map(Arc::new).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut movers = Vec::new();
    for (number, leg) in legs.iter().enumerate() {
        let (leg, is_over) = (Arc::clone(leg), Arc::clone(&is_over));
        let (here, there) = (Arc::clone(&conference), Arc::clone(&elsewhere));
        movers.push(tokio::spawn(async move {
            for round in number.. {
                match round % 4 {
                    0 | 1 => leg.join(&here, JoinOptions::default()).await.unwrap(),
                    2 => leg.join(&there, JoinOptions::default()).await.unwrap(),
                    _ => leg.leave().await.unwrap(),
                }
                if is_over.load(Relaxed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(7 + 3 * number as u64)).await;
            }
        }));
    }
    let mut recorded = 0;
    for _ in 0..12 {
        let mut recorder = Recorder::start(&conference).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(150) {
            recorder.read();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        recorder.read();
        recorder.check();
        recorded += recorder
            .legs
            .iter()
            .filter(|(.., track)| !track.is_empty())
            .count();
    }
    assert!(recorded > 24, "{recorded} legs");
    is_over.store(true, Relaxed);
    for mover in movers {
        mover.await.unwrap();
    }
    assert_eq!(plane.metrics().tap_blocks_dropped, 0);
    talkers.stop.store(true, Relaxed);
    talkers.thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mix_alone_has_no_tracks_and_no_bound_is_left() {
    let ports = PortLease::take(20).unwrap();
    let plane = start(&ports, 1);
    let conference = plane.create_conference(open()).unwrap();
    // However much room is asked for.
    for room in [Duration::ZERO, Duration::MAX] {
        let mut taps = conference.record(TrackChoice::Mix, room).await.unwrap();
        assert!(taps.tracks.is_none());
        let mut samples = Vec::new();
        until(|| {
            taps.mix
                .next(&mut samples)
                .is_some_and(|block| block.is_silence && samples.len() == 160)
        })
        .await;
    }
    drop(plane);
    let error = conference.record(TrackChoice::Mix, ROOM).await.unwrap_err();
    assert_eq!(error, confab_media::ControlError::Stopped);
}
