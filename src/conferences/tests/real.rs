//! The registry over the real media plane, on loopback: what is decided here is heard there.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use confab_conference::{Caller, Control, Entry, LeaveCause, ParticipantId, Role};
use confab_media::{
    CodecKind, ExtendedReports, LegHandle, LegMedia, MediaConfig, MediaDirection, MediaPlane,
};
use confab_testkit::g711::Law;
use confab_testkit::meter::tone_dbfs;
use confab_testkit::ports::PortLease;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source, Stream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{account, conference, open_settings};
use crate::conferences::{HangUp, MediaDispatch, Participant, Registry};
use crate::sounds::{Sounds, tests::permissive};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Far beyond what any step takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
const LEVEL_DBFS: f64 = -20.0;

/// A phone in the conference, sending its own tone.
struct Phone {
    tone_hz: f64,
    stream: Stream,
    leg: Arc<LegHandle>,
    participant: Participant,
    hang_ups: mpsc::Receiver<HangUp>,
}

struct House {
    media: Arc<MediaPlane>,
    registry: Registry,
    engine: RtpEngine,
    _ports: PortLease,
}

impl House {
    fn start() -> House {
        let ports = PortLease::take(200).expect("free ports");
        let config = MediaConfig {
            bind: vec![LOOPBACK],
            ports: ports.range(),
            shards: 1,
            ..MediaConfig::default()
        };
        let (media, events) = MediaPlane::start(config).expect("the media plane starts");
        let media = Arc::new(media);
        let dispatch = MediaDispatch::default();
        tokio::spawn(dispatch.clone().run(events));
        let sounds = Sounds::new(&permissive());
        let registry = Registry::new(
            Arc::clone(&media),
            dispatch,
            confab_api::event::EventBus::default(),
            sounds,
            None,
        );
        let engine = RtpEngine::start(EngineConfig::default()).expect("the generator starts");
        House {
            media,
            registry,
            engine,
            _ports: ports,
        }
    }

    async fn phone(&self, tone_hz: f64) -> Phone {
        let stream = self.engine.open(LOOPBACK).expect("a socket");
        let leg = Arc::new(self.media.open_leg(LOOPBACK).expect("a leg"));
        leg.start(LegMedia {
            remote: stream.local_addr(),
            remote_rtcp: stream.local_addr(),
            rtcp_mux: true,
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
            signalling_ip: LOOPBACK,
            trusted_ips: Vec::new(),
        })
        .await
        .expect("media starts");
        stream.set_remote(leg.rtp_addr());
        stream.set_source(Some(Source::tone(Law::Mu, tone_hz, LEVEL_DBFS)));
        let caller = Caller::new(format!("call-{tone_hz}"));
        let seat = self
            .registry
            .reserve(
                account(),
                conference(),
                open_settings(),
                caller,
                Role::Member,
                Entry::DialIn,
            )
            .await
            .expect("a place");
        let (hang_up, hang_ups) = mpsc::channel(1);
        let participant = seat.join(Arc::clone(&leg), hang_up).await.expect("joined");
        Phone {
            tone_hz,
            stream,
            leg,
            participant,
            hang_ups,
        }
    }

    async fn control(&self, control: Control) {
        self.registry
            .control(&account(), &conference(), control)
            .await
            .expect("it runs");
    }

    async fn until_talking(&self, expected: &[ParticipantId]) {
        let all_talk = async {
            loop {
                let snapshot = self
                    .registry
                    .snapshot(&account(), &conference())
                    .await
                    .expect("it runs");
                let talking: Vec<_> = snapshot
                    .participants
                    .iter()
                    .filter(|state| state.talking)
                    .map(|state| state.id)
                    .collect();
                let floor = snapshot
                    .participants
                    .iter()
                    .filter(|state| state.floor && state.talking)
                    .count();
                if talking == expected && floor == usize::from(!expected.is_empty()) {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all_talk)
            .await
            .expect("the talkers are as expected");
    }
}

impl Phone {
    /// Records until 300 ms in a row sound as asked: tones that must be heard at their level (within 1 dB), and tones
    /// that must not (40 dB below).
    async fn hears(&self, present: &[f64], absent: &[f64]) {
        let sounds_right = async {
            loop {
                self.stream.set_capture(CaptureMode::Full);
                sleep(Duration::from_millis(320)).await;
                let samples = self.stream.take_capture().samples();
                let level = |tone: &f64| tone_dbfs(&samples, 8_000, *tone);
                if samples.len() >= 2_000
                    && present.iter().all(|tone| (level(tone) - LEVEL_DBFS).abs() < 1.0)
                    && absent.iter().all(|tone| level(tone) < LEVEL_DBFS - 40.0)
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, sounds_right).await.unwrap_or_else(|_| {
            panic!(
                "the phone of {} Hz does not hear {present:?} without {absent:?}",
                self.tone_hz
            )
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_says_is_what_the_phones_hear() {
    let house = House::start();
    let a = house.phone(437.5).await;
    let mut b = house.phone(812.5).await;
    let c = house.phone(1_312.5).await;
    let (ida, idb, idc) = (a.participant.id(), b.participant.id(), c.participant.id());
    house.until_talking(&[ida, idb, idc]).await;
    a.hears(&[b.tone_hz, c.tone_hz], &[a.tone_hz]).await;

    house.control(Control::Mute(ida)).await;
    house.until_talking(&[idb, idc]).await;
    b.hears(&[c.tone_hz], &[a.tone_hz, b.tone_hz]).await;
    a.hears(&[b.tone_hz, c.tone_hz], &[a.tone_hz]).await;

    house.control(Control::Deaf(idc)).await;
    c.hears(&[], &[a.tone_hz, b.tone_hz, c.tone_hz]).await;
    house.control(Control::Undeaf(idc)).await;
    house.control(Control::Unmute(ida)).await;
    house.until_talking(&[ida, idb, idc]).await;
    c.hears(&[a.tone_hz, b.tone_hz], &[c.tone_hz]).await;

    house.control(Control::Kick(idb)).await;
    assert_eq!(
        b.hang_ups.recv().await,
        Some(HangUp {
            cause: LeaveCause::Kicked
        })
    );
    c.hears(&[a.tone_hz], &[b.tone_hz, c.tone_hz]).await;
    house.until_talking(&[ida, idc]).await;

    for phone in [a, b, c] {
        phone.participant.leave(LeaveCause::HungUp).await;
        phone.leg.close().await;
    }
    timeout(PATIENCE, house.registry.drain())
        .await
        .expect("everything has ended");
    assert_eq!(
        (house.registry.conferences(), house.registry.participants()),
        (0, 0)
    );
    assert_eq!(house.media.metrics().ports_in_use, 0);
}
