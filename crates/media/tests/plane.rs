//! The media plane on real sockets and threads: tones from leg to leg, ports and handles coming and going.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use confab_dsp::ToneScript;
use confab_media::{
    Clip, CodecKind, ConferenceMedia, ControlError, ExtendedReports, Hearers, JoinOptions, Lane, LegHandle,
    LegMedia, MediaConfig, MediaDirection, MediaEvent, MediaEvents, MediaPlane, OpenLegError, PLAY_QUEUE,
    Play, PlayChange, PlayEnd, Repeat, Sound, StopPlay,
};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::ports::PortLease;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const RATE: u32 = 8000;

/// A plane with ports of its own.
struct House {
    plane: MediaPlane,
    ports: PortLease,
}

impl House {
    fn start(pairs: u16, shards: usize) -> (House, MediaEvents) {
        let ports = PortLease::take(2 * pairs).unwrap();
        let config = MediaConfig {
            bind: vec![LOCALHOST],
            ports: ports.range(),
            shards,
            ..MediaConfig::default()
        };
        let (plane, events) = MediaPlane::start(config).unwrap();
        (House { plane, ports }, events)
    }
}

impl std::ops::Deref for House {
    type Target = MediaPlane;

    fn deref(&self) -> &MediaPlane {
        &self.plane
    }
}

/// A phone on a real socket: sends a tone every 20 ms and records what it gets.
struct Phone {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<i16>>,
}

impl Phone {
    fn start(to: SocketAddr, tone_hz: f64) -> Self {
        let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || talk(&socket, to, tone_hz, &stopped));
        Phone {
            address,
            stop,
            thread,
        }
    }

    fn media(&self) -> LegMedia {
        media(self.address)
    }

    fn finish(self) -> Vec<i16> {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
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

fn talk(socket: &UdpSocket, to: SocketAddr, tone_hz: f64, stop: &AtomicBool) -> Vec<i16> {
    let mut recorded = Vec::new();
    let mut buffer = [0; 2048];
    let start = Instant::now();
    for number in 0u32.. {
        if stop.load(Relaxed) {
            break;
        }
        let samples = meter::sine(tone_hz, -28.0, RATE, u64::from(number) * 160, 160);
        let mut packet = vec![0x80, 0];
        packet.extend((number as u16).to_be_bytes());
        packet.extend((number * 160).to_be_bytes());
        packet.extend(0x1234_5678u32.to_be_bytes());
        packet.extend(Law::Mu.encode_block(&samples));
        socket.send_to(&packet, to).unwrap();
        let next = start + Duration::from_millis(20) * (number + 1);
        while let Some(left) = next
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            socket.set_read_timeout(Some(left)).unwrap();
            if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                assert!(length >= 12);
                Law::Mu.decode_into(&buffer[12..length], &mut recorded);
            }
        }
    }
    recorded
}

#[tokio::test(flavor = "multi_thread")]
async fn three_phones_hear_each_other_and_not_themselves() {
    let (plane, mut events) = House::start(100, 1);
    let conference = plane.create_conference(ConferenceMedia::default()).unwrap();
    let tones = [440.0, 700.0, 1150.0];
    let mut legs = Vec::new();
    let mut phones = Vec::new();
    for tone in tones {
        let leg = plane.open_leg(LOCALHOST).unwrap();
        let phone = Phone::start(leg.rtp_addr(), tone);
        leg.start(phone.media()).await.unwrap();
        leg.join(&conference, JoinOptions::default()).await.unwrap();
        phones.push(phone);
        legs.push(leg);
    }
    let mut talking = Vec::new();
    while talking.len() < 3 {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv())
            .await
            .unwrap()
            .unwrap();
        if let MediaEvent::Talking { leg, talking: true } = event {
            talking.push(leg);
        }
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    phones.iter().for_each(|phone| phone.stop.store(true, Relaxed));
    let recordings: Vec<_> = phones.into_iter().map(Phone::finish).collect();
    for (listener, recording) in recordings.iter().enumerate() {
        for (talker, &tone) in tones.iter().enumerate() {
            let level = median_level(&recording[recording.len() - 9000..recording.len() - 1000], tone);
            if talker == listener {
                assert!(level < -68.0, "{listener} hears himself at {level}");
            } else {
                assert!((level + 28.0).abs() < 1.0, "{listener} hears {talker} at {level}");
            }
        }
    }
    for leg in &legs {
        let stats = leg.close().await.stats;
        assert!(
            stats.packets_received > 50 && stats.packets_sent > 50,
            "{stats:?}"
        );
        assert_eq!(leg.close().await.stats, stats, "closing twice is closing once");
        assert_eq!(leg.set_muted(true).await, Err(ControlError::LegClosed));
    }
    let metrics = plane.metrics();
    assert_eq!(
        (metrics.ports_in_use, metrics.legs_opened, metrics.legs_closed),
        (0, 3, 3)
    );
    assert!(metrics.shards[0].ticks > 50 && metrics.shards[0].packets_out > 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_legs_join_conferences_across_shards() {
    let (plane, _events) = House::start(120, 2);
    let conferences = [(); 2].map(|()| {
        plane
            .create_conference(ConferenceMedia {
                energy_level: 0,
                ..Default::default()
            })
            .unwrap()
    });
    let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut legs = Vec::new();
    for number in 0..60 {
        let leg = plane.open_leg(LOCALHOST).unwrap();
        leg.start(media(socket.local_addr().unwrap())).await.unwrap();
        leg.join(&conferences[number % 3 % 2], JoinOptions::default())
            .await
            .unwrap();
        legs.push(leg);
    }
    // All of them send, each from its own port.
    let mut sources = std::collections::BTreeSet::new();
    let mut buffer = [0; 2048];
    while sources.len() < legs.len() {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(length, 172);
        sources.insert(from);
    }
    assert_eq!(sources, legs.iter().map(LegHandle::rtp_addr).collect());
    let on_shards: Vec<_> = plane.metrics().shards.iter().map(|shard| shard.legs).collect();
    assert_eq!(on_shards.iter().sum::<u32>(), 60);
    assert!(
        on_shards.iter().all(|&legs| legs == 20 || legs == 40),
        "legs live with their conference: {on_shards:?}"
    );
    // From one conference into another, on another shard.
    legs[0]
        .join(&conferences[1], JoinOptions::default())
        .await
        .unwrap();
    legs[0].leave().await.unwrap();
    drop(conferences);
    drop(legs);
    until(|| plane.metrics().ports_in_use == 0 && plane.metrics().shards.iter().all(|s| s.conferences == 0))
        .await;
    assert_eq!(plane.metrics().legs_closed, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_run_out_with_a_clear_error_and_come_back() {
    let (plane, _events) = House::start(4, 1);
    let legs: Vec<_> = std::iter::from_fn(|| plane.open_leg(LOCALHOST).ok()).collect();
    assert_eq!((plane.metrics().ports_in_use, legs.len()), (4, 4));
    let error = plane.open_leg(LOCALHOST).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no free port pair left in {}-{} on 127.0.0.1",
            plane.ports.range().start(),
            plane.ports.range().end()
        )
    );
    let elsewhere = IpAddr::from([127, 0, 0, 2]);
    assert!(matches!(
        plane.open_leg(elsewhere),
        Err(OpenLegError::UnknownAddress(_))
    ));
    for leg in &legs {
        assert!(leg.rtp_addr().port().is_multiple_of(2));
        assert_eq!(leg.rtcp_addr().port(), leg.rtp_addr().port() + 1);
        assert_eq!(leg.set_muted(true).await, Err(ControlError::NotStarted));
        leg.close().await;
    }
    assert_eq!(plane.metrics().ports_in_use, 0);
    assert!(plane.open_leg(LOCALHOST).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_outlive_their_plane_without_harm() {
    let (plane, mut events) = House::start(20, 1);
    let conference = plane.create_conference(ConferenceMedia::default()).unwrap();
    let unused = plane
        .create_conference(ConferenceMedia {
            interval_ms: 13,
            ..Default::default()
        })
        .unwrap();
    let leg = plane.open_leg(LOCALHOST).unwrap();
    let idle = plane.open_leg(LOCALHOST).unwrap();
    leg.start(media("127.0.0.1:9".parse().unwrap())).await.unwrap();
    leg.join(&conference, JoinOptions::default()).await.unwrap();
    conference.set_energy_level(100).await.unwrap();
    unused.set_energy_level(100).await.unwrap();
    drop(plane);
    assert!(events.recv().await.is_none());
    assert_eq!(leg.set_deaf(true).await, Err(ControlError::Stopped));
    assert_eq!(
        idle.start(media("127.0.0.1:9".parse().unwrap())).await,
        Err(ControlError::Stopped)
    );
    assert_eq!(conference.set_energy_level(0).await, Err(ControlError::Stopped));
    leg.close().await;
    idle.close().await;
    conference.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_conference_takes_nobody_in() {
    let (plane, _events) = House::start(20, 1);
    let leg = plane.open_leg(LOCALHOST).unwrap();
    let conference = plane.create_conference(ConferenceMedia::default()).unwrap();
    assert_eq!(
        leg.join(&conference, JoinOptions::default()).await,
        Err(ControlError::NotStarted)
    );
    leg.start(media("127.0.0.1:9".parse().unwrap())).await.unwrap();
    leg.join(&conference, JoinOptions::default()).await.unwrap();
    conference.close();
    until(|| plane.metrics().shards[0].conferences == 0).await;
    let next = plane.create_conference(ConferenceMedia::default()).unwrap();
    leg.join(&next, JoinOptions::default()).await.unwrap();
    until(|| plane.metrics().shards[0].conferences == 1).await;
}

/// Takes the next event about a play.
async fn next_of_plays(events: &mut MediaEvents) -> MediaEvent {
    let mut next = async || {
        loop {
            let event = events.recv().await.unwrap();
            if matches!(
                event,
                MediaEvent::PlayStarted { .. } | MediaEvent::PlayEnded { .. }
            ) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), next())
        .await
        .unwrap()
}

fn tone(hz: u32, milliseconds: u32) -> Play {
    let script = format!("v=-18;%({milliseconds},0,{hz})");
    Play::once(Sound::tones(ToneScript::parse(&script).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_hears_what_is_played_to_it() {
    let (plane, mut events) = House::start(20, 1);
    let conference = plane.create_conference(ConferenceMedia::default()).unwrap();
    let here = conference.id();
    let leg = plane.open_leg(LOCALHOST).unwrap();
    let one = Hearers::One(&leg);
    let none = conference.play(one, Lane::Queue, tone(1000, 100)).await;
    assert_eq!(none, Err(ControlError::NotInConference));
    assert_eq!(
        conference.stop_play(Hearers::Everybody, StopPlay::All).await,
        Ok(()),
        "nothing plays where nobody ever was"
    );
    // It plays before anybody is there, from a recording that is converted for it.
    let samples = (0..44_100).map(|n| (3000.0 * (f64::from(n) * 0.1).sin()) as i16);
    let clip = Clip::new(44_100, samples.collect()).unwrap();
    let music = Play {
        repeat: Repeat::Forever,
        ..Play::once(Sound::clip(clip))
    };
    let waiting = conference
        .play(Hearers::Waiting, Lane::Background, music.clone())
        .await
        .unwrap();
    let started = |leg, play| MediaEvent::PlayStarted {
        conference: here,
        leg,
        play,
    };
    let ended = |leg, play, how| MediaEvent::PlayEnded {
        conference: here,
        leg,
        play,
        how,
    };
    assert_eq!(next_of_plays(&mut events).await, started(None, waiting));

    let phone = Phone::start(leg.rtp_addr(), 440.0);
    leg.start(phone.media()).await.unwrap();
    leg.join(&conference, JoinOptions::default()).await.unwrap();
    let elsewhere = plane.create_conference(ConferenceMedia::default()).unwrap();
    assert_eq!(
        elsewhere.stop_play(one, StopPlay::All).await,
        Err(ControlError::NotInConference)
    );
    let to_me = Some(leg.id());
    let first = conference.play(one, Lane::Queue, tone(1000, 1500)).await.unwrap();
    assert_eq!(next_of_plays(&mut events).await, started(to_me, first));
    assert_eq!(
        next_of_plays(&mut events).await,
        ended(to_me, first, PlayEnd::Finished)
    );

    let mut queue = Vec::new();
    for _ in 0..=PLAY_QUEUE {
        queue.push(conference.play(one, Lane::Queue, music.clone()).await.unwrap());
    }
    assert_eq!(
        conference.play(one, Lane::Queue, tone(1000, 100)).await,
        Err(ControlError::PlayQueueFull)
    );
    conference.stop_play(one, StopPlay::All).await.unwrap();
    let last = conference.play(one, Lane::Queue, music.clone()).await.unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&started(to_me, last)) {
        told.push(next_of_plays(&mut events).await);
    }
    let louder = PlayChange::Gain(3.0);
    assert_eq!(conference.change_play(one, last, louder).await, Ok(true));
    assert_eq!(
        conference.change_play(one, queue[0], louder).await,
        Ok(false),
        "it has ended"
    );
    let hearers = Hearers::Everybody;
    assert_eq!(
        conference.change_play(hearers, last, louder).await,
        Ok(false),
        "not theirs"
    );
    for play in queue {
        assert!(told.contains(&ended(to_me, play, PlayEnd::Stopped)), "{told:?}");
    }
    leg.leave().await.unwrap();
    assert_eq!(
        next_of_plays(&mut events).await,
        ended(to_me, last, PlayEnd::Gone)
    );
    conference
        .stop_play(Hearers::Waiting, StopPlay::Id(waiting))
        .await
        .unwrap();
    assert_eq!(
        next_of_plays(&mut events).await,
        ended(None, waiting, PlayEnd::Stopped)
    );
    leg.close().await;
    assert_eq!(
        conference.play(one, Lane::Queue, music).await,
        Err(ControlError::LegClosed)
    );
    let recording = phone.finish();
    // A second and a half, of which a phone that is late for a moment may miss some.
    let loud = recording
        .chunks_exact(800)
        .filter(|window| (meter::tone_dbfs(window, RATE, 1000.0) + 21.14).abs() < 1.0)
        .count();
    assert!((8..=15).contains(&loud), "{loud} windows of 100 ms");
}

/// The median over windows of 100 ms: a phone of this test that is late for a moment does not count.
fn median_level(recording: &[i16], tone_hz: f64) -> f64 {
    let mut levels: Vec<_> = recording
        .chunks_exact(800)
        .map(|w| meter::tone_dbfs(w, RATE, tone_hz))
        .collect();
    levels.sort_by(f64::total_cmp);
    levels[levels.len() / 2]
}

/// Waits for something that other threads bring about.
async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come about within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
