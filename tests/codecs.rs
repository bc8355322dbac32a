//! Every codec in one room, by real sockets: who hears what and how loud, wide band beside narrow band, and which codec a call gets.

use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Invite, Joining, Participant, Phone, RemoteAudio};
use confab_testkit::codec::Codec;
use confab_testkit::in_time::in_time;
use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipConfig};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, Server, ServerBuilder, exclusive};
use serde_json::json;

const WAIT: Duration = Duration::from_secs(10);
const LEVEL_DBFS: f64 = -28.0;
/// What is this far below the tones counts as not there.
const UNHEARD_DB: f64 = 40.0;
/// Primes: no harmonic and no product of G.711 distortion of some of them falls on another one.
const TONES_HZ: [u32; 12] = [
    347, 599, 853, 1103, 1361, 1607, 1861, 2111, 2371, 2617, 2861, 3109,
];
/// The room: narrow band first, so that its rate has to rise.
const ROOM: [(Codec, u32); 12] = [
    (Codec::Pcmu, 60),
    (Codec::Pcma, 30),
    (Codec::L16(8000), 10),
    (Codec::G722, 20),
    (Codec::L16(16_000), 30),
    (Codec::G722, 60),
    (Codec::L16(44_100), 30),
    (Codec::L16(48_000), 60),
    (Codec::Opus, 10),
    (Codec::Opus, 20),
    (Codec::Opus, 30),
    (Codec::Opus, 60),
];
/// Above what a narrow band holds, and where it would come out if it were folded into one.
const WIDE_HZ: f64 = 6000.0;
const FOLDED_HZ: f64 = 2000.0;

fn builder() -> ServerBuilder {
    ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
}

/// A server and the phones around it.
struct Studio {
    server: Server,
    phone: Phone,
    engine: RtpEngine,
}

impl Studio {
    fn open(builder: ServerBuilder) -> Self {
        let server = builder.start().expect("started");
        let phone = Phone::udp(server.sip).expect("a phone");
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        Self {
            server,
            phone,
            engine,
        }
    }

    fn join(&self, joining: Joining) -> Participant {
        joining.join(&self.phone, &self.engine, "3000").expect("joined")
    }

    /// Somebody who says a tone.
    fn member(&self, codec: Codec, tone_hz: f64) -> Participant {
        self.join(Joining::with(codec).sends(Source::tone(codec, tone_hz, LEVEL_DBFS)))
    }

    fn in_time<R>(&self, measure: impl FnMut() -> Result<R, Vec<String>>) -> R {
        in_time(&self.server, &self.engine, measure)
    }
}

/// Samples at the rate of their codec.
type Heard = (Codec, Vec<i16>);

/// Returns one second of what each has heard, at the rate of its codec, the beginning left to the decoders.
fn listen(participants: &[&Participant]) -> Result<Vec<Heard>, Vec<String>> {
    // Playout, gates and the mix before have passed.
    std::thread::sleep(Duration::from_millis(600));
    participants
        .iter()
        .for_each(|participant| participant.stream.set_capture(CaptureMode::Full));
    std::thread::sleep(Duration::from_millis(1500));
    participants
        .iter()
        .map(|participant| {
            let codec = participant.remote.codec().expect("a codec was agreed on");
            let samples = participant.stream.take_capture().samples_of(codec);
            let window = codec.rate_hz() as usize;
            if samples.len() < window + window / 5 {
                return Err(vec![format!("{codec:?} got {} samples in 1.5 s", samples.len())]);
            }
            Ok((codec, samples[samples.len() - window..].to_vec()))
        })
        .collect()
}

fn level(heard: &Heard, frequency_hz: f64) -> f64 {
    meter::tone_dbfs(&heard.1, heard.0.rate_hz(), frequency_hz)
}

fn is_wide(codec: Codec) -> bool {
    codec.rate_hz() >= 16_000
}

/// How far a tone that goes through these codecs may be off, in dB.
fn tolerance_db(codecs: [Codec; 2]) -> f64 {
    let of = |codec| -> f64 {
        match codec {
            Codec::Opus => 3.0,
            Codec::G722 => 1.5,
            _ => 1.0,
        }
    };
    of(codecs[0]).max(of(codecs[1]))
}

/// The largest errors by codec of the listener.
#[derive(Default)]
struct Worst {
    heard_db: Vec<(Codec, f64)>,
    unheard_dbfs: f64,
}

impl Worst {
    fn note(&mut self, codec: Codec, error_db: f64) {
        match self.heard_db.iter_mut().find(|(known, _)| *known == codec) {
            Some((_, worst)) => *worst = worst.max(error_db),
            None => self.heard_db.push((codec, error_db)),
        }
    }
}

#[test]
fn everybody_hears_everybody_whatever_codec_packet_time_and_rate() {
    let _alone = exclusive();
    let studio = Studio::open(builder());
    let tone = |index: usize| f64::from(TONES_HZ[index]);
    let members: Vec<Participant> = ROOM
        .iter()
        .enumerate()
        .map(|(index, (codec, ptime_ms))| {
            let source = Source::tone(*codec, tone(index), LEVEL_DBFS);
            let joining = Joining::with(*codec).ptime(*ptime_ms).sends(source);
            let member = studio.join(joining.caller(&(1000 + index).to_string()));
            assert_eq!(member.remote.codec(), Some(*codec));
            member
        })
        .collect();

    // Packets of the size that was asked for, without a gap.
    let all: Vec<&Participant> = members.iter().collect();
    studio.in_time(|| {
        all.iter()
            .for_each(|member| member.stream.set_capture(CaptureMode::Full));
        std::thread::sleep(Duration::from_millis(700));
        let wrong: Vec<String> = all
            .iter()
            .zip(ROOM)
            .filter_map(|(member, (codec, ptime_ms))| {
                // What would not fit into an Ethernet packet is sent in shorter ones than asked for.
                let ptime_ms = match codec {
                    Codec::L16(44_100 | 48_000) => 10,
                    _ => ptime_ms,
                };
                let units = codec.rtp_clock_hz() * ptime_ms / 1000;
                let report = member.stream.take_capture().sequence_report(units);
                let ok = report.is_continuous() && report.received > 700 / u64::from(ptime_ms) / 2;
                (!ok).then(|| format!("{codec:?} {ptime_ms} ms: {report:?}"))
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });

    let check = |heard: &Heard, talker: usize, audible: bool, worst: &mut Worst| {
        let level = level(heard, tone(talker));
        let error = (level - LEVEL_DBFS).abs();
        let ok = if audible {
            worst.note(heard.0, error);
            error <= tolerance_db([heard.0, ROOM[talker].0])
        } else {
            worst.unheard_dbfs = worst.unheard_dbfs.max(level);
            level <= LEVEL_DBFS - UNHEARD_DB
        };
        (!ok).then(|| {
            let (from, ptime_ms) = ROOM[talker];
            format!(
                "{:?} hears {} Hz of {from:?} with {ptime_ms} ms at {level:.1} dBFS, audible {audible}",
                heard.0, TONES_HZ[talker]
            )
        })
    };

    // All at once: for the codecs that code twelve tones as well as one.
    let listeners: Vec<usize> = (0..ROOM.len())
        .filter(|index| ROOM[*index].0 != Codec::Opus)
        .collect();
    let worst = studio.in_time(|| {
        let mut worst = Worst {
            unheard_dbfs: meter::SILENCE_DBFS,
            ..Worst::default()
        };
        let heard = listen(&listeners.iter().map(|index| all[*index]).collect::<Vec<_>>())?;
        let mut wrong = Vec::new();
        for (listener, heard) in listeners.iter().zip(&heard) {
            wrong.extend(
                (0..ROOM.len()).filter_map(|talker| check(heard, talker, talker != *listener, &mut worst)),
            );
        }
        if wrong.is_empty() { Ok(worst) } else { Err(wrong) }
    });
    println!(
        "all at once: off by at most {:.2?} dB, own voices at most {:.1} dBFS",
        worst.heard_db, worst.unheard_dbfs
    );

    // One after another, for everybody.
    for (member, (codec, _)) in members.iter().zip(ROOM) {
        member.stream.set_source(Some(Source::silence(codec)));
    }
    for talker in 0..members.len() {
        let codec = ROOM[talker].0;
        let stream = &members[talker].stream;
        stream.set_source(Some(Source::tone(codec, tone(talker), LEVEL_DBFS)));
        let worst = studio.in_time(|| {
            let mut worst = Worst {
                unheard_dbfs: meter::SILENCE_DBFS,
                ..Worst::default()
            };
            let heard = listen(&all)?;
            let wrong: Vec<String> = heard
                .iter()
                .enumerate()
                .filter_map(|(listener, heard)| check(heard, talker, listener != talker, &mut worst))
                .collect();
            if wrong.is_empty() { Ok(worst) } else { Err(wrong) }
        });
        stream.set_source(Some(Source::silence(codec)));
        println!(
            "{codec:?} {} ms alone: off by at most {:.2?} dB, itself at most {:.1} dBFS",
            ROOM[talker].1, worst.heard_db, worst.unheard_dbfs
        );
    }
    members.iter().for_each(|member| member.leave().expect("left"));
}

#[test]
fn wide_band_stays_wide_beside_narrow_band() {
    let _alone = exclusive();
    let studio = Studio::open(builder());
    let codecs = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::L16(8000),
        Codec::G722,
        Codec::L16(16_000),
        Codec::L16(44_100),
        Codec::L16(48_000),
        Codec::Opus,
    ];
    let members: Vec<Participant> = codecs
        .iter()
        .map(|codec| {
            studio.join(
                Joining::with(*codec)
                    .ptime(if matches!(codec, Codec::L16(_)) { 10 } else { 20 })
                    .sends(Source::silence(*codec)),
            )
        })
        .collect();
    let all: Vec<&Participant> = members.iter().collect();
    // Somebody in the narrow band goes on talking.
    let narrow_hz = 1103.0;
    members[0]
        .stream
        .set_source(Some(Source::tone(codecs[0], narrow_hz, LEVEL_DBFS)));
    for (talker, codec) in codecs.iter().enumerate().filter(|(_, codec)| is_wide(**codec)) {
        let stream = &members[talker].stream;
        stream.set_source(Some(Source::tone(*codec, WIDE_HZ, LEVEL_DBFS)));
        studio.in_time(|| {
            let mut wrong = Vec::new();
            for (listener, heard) in listen(&all)?.iter().enumerate() {
                let (wide, folded) = (level(heard, WIDE_HZ), level(heard, FOLDED_HZ));
                let narrow = level(heard, narrow_hz);
                let tolerance = tolerance_db([heard.0, *codec]);
                let hears = listener != talker && is_wide(heard.0);
                let wide_ok = if hears {
                    (wide - LEVEL_DBFS).abs() <= tolerance
                } else {
                    // A narrow band has no such frequency: what stands there is its mirror, checked below.
                    !is_wide(heard.0) || wide <= LEVEL_DBFS - UNHEARD_DB
                };
                let narrow_ok =
                    listener == 0 || (narrow - LEVEL_DBFS).abs() <= tolerance_db([heard.0, codecs[0]]);
                if !(wide_ok && narrow_ok && folded <= LEVEL_DBFS - UNHEARD_DB) {
                    wrong.push(format!(
                        "{:?} hears {codec:?} at {wide:.1} dBFS, folded {folded:.1}, the other {narrow:.1}",
                        heard.0
                    ));
                }
            }
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        });
        stream.set_source(Some(Source::silence(*codec)));
    }
    members.iter().for_each(|member| member.leave().expect("left"));
}

#[test]
fn a_profile_rate_of_8000_keeps_the_wide_band_out() {
    let _alone = exclusive();
    let studio = Studio::open(builder());
    let document = json!({
        "name": "narrow", "conference_numbers": ["4000"],
        "profile": {"rate": 8000}, "member": {"join_muted": false}
    });
    ConferenceControl::create(studio.server.api().expect("a login"), document).expect("created");
    let join = |codec, tone_hz| {
        Joining::with(codec)
            .sends(Source::tone(codec, tone_hz, LEVEL_DBFS))
            .join(&studio.phone, &studio.engine, "4000")
            .expect("joined")
    };
    let wide = join(Codec::L16(16_000), WIDE_HZ);
    let low = join(Codec::G722, 1000.0);
    let listeners = [
        join(Codec::G722, 300.0),
        join(Codec::Opus, 400.0),
        join(Codec::L16(48_000), 500.0),
    ];
    studio.in_time(|| {
        let heard = listen(&listeners.iter().collect::<Vec<_>>())?;
        let wrong: Vec<String> = heard
            .iter()
            .filter_map(|heard| {
                let (wide, folded) = (level(heard, WIDE_HZ), level(heard, FOLDED_HZ));
                let passed = level(heard, 1000.0);
                let ok = wide.max(folded) <= LEVEL_DBFS - UNHEARD_DB && (passed - LEVEL_DBFS).abs() <= 3.0;
                (!ok).then(|| {
                    format!(
                        "{:?}: 6 kHz {wide:.1}, folded {folded:.1}, 1 kHz {passed:.1}",
                        heard.0
                    )
                })
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    for member in [&wide, &low].into_iter().chain(&listeners) {
        member.leave().expect("left");
    }
}

#[test]
fn the_order_that_was_configured_decides_which_codec_a_call_gets() {
    let all = vec![Codec::Pcmu, Codec::G722, Codec::L16(16_000), Codec::Opus];
    let answered = |builder: ServerBuilder| {
        let studio = Studio::open(builder);
        let joining = Joining {
            codecs: all.clone(),
            ..Joining::default()
        };
        let member = studio.join(joining);
        let agreed = member.remote.formats.clone();
        assert_eq!(agreed.len(), 1, "one codec, so that none comes as a surprise");
        // The numbers of an answer are those of the offer.
        assert!(member.offer.formats.contains(&agreed[0]), "{agreed:?}");
        let codec = agreed[0].1;
        let talker = studio.member(codec, 1000.0);
        studio.in_time(|| {
            let level = level(&listen(&[&member])?[0], 1000.0);
            let ok = (level - LEVEL_DBFS).abs() <= tolerance_db([codec, codec]);
            if ok { Ok(()) } else { Err(vec![format!("{level}")]) }
        });
        talker.leave().expect("left");
        member.leave().expect("left");
        codec
    };
    let _alone = exclusive();
    let ours = |list: &str| {
        builder()
            .set("media.codec_order", "\"ours\"")
            .set("media.codecs", list)
    };
    assert_eq!(
        answered(builder()),
        Codec::Pcmu,
        "the caller's order is the default"
    );
    assert_eq!(
        answered(builder().set("media.codec_order", "\"ours\"")),
        Codec::Opus
    );
    assert_eq!(answered(ours("[\"G722\", \"opus\", \"PCMU\"]")), Codec::G722);
    assert_eq!(
        answered(ours("[\"L16/48000\", \"L16/16000\"]")),
        Codec::L16(16_000)
    );
}

#[test]
fn a_late_offer_names_every_codec_and_is_answered_with_any() {
    let _alone = exclusive();
    let studio = Studio::open(builder());
    let talker = studio.member(Codec::G722, WIDE_HZ);
    for codec in [Codec::Opus, Codec::L16(16_000), Codec::Pcma] {
        let call = studio.phone.invite(Invite::without_offer("3000")).expect("sent");
        let offered = call.wait_answer(WAIT).expect("an offer in the 200");
        for expected in Codec::ALL {
            assert!(
                offered.formats.iter().any(|(_, codec)| *codec == expected),
                "{expected:?} in {offered:?}"
            );
        }
        let stream = studio
            .engine
            .open(studio.phone.local_addr().ip())
            .expect("a stream");
        let offer = AudioOffer::new(stream.local_addr()).answering(&offered, codec);
        call.ack(Some(&offer)).expect("sent");
        stream.set_formats(&offer.formats);
        stream.set_payload_type(Some(offer.formats[0].0));
        stream.set_remote(offered.address);
        stream.set_source(Some(Source::tone(codec, 700.0, LEVEL_DBFS)));
        let late = Participant {
            call,
            stream,
            remote: RemoteAudio {
                formats: offer.formats.clone(),
                ..offered
            },
            offer,
            refused: 0,
        };
        studio.in_time(|| {
            let heard = listen(&[&late, &talker])?;
            let (by_late, by_talker) = (level(&heard[0], WIDE_HZ), level(&heard[1], 700.0));
            let tolerance = tolerance_db([codec, Codec::G722]);
            let by_late_ok = !is_wide(codec) || (by_late - LEVEL_DBFS).abs() <= tolerance;
            if by_late_ok && (by_talker - LEVEL_DBFS).abs() <= tolerance {
                Ok(())
            } else {
                Err(vec![format!(
                    "{codec:?}: hears {by_late:.1}, is heard at {by_talker:.1}"
                )])
            }
        });
        late.leave().expect("left");
    }
    talker.leave().expect("left");
}

#[test]
fn a_member_goes_from_narrow_band_to_opus_in_a_running_conference() {
    let _alone = exclusive();
    let studio = Studio::open(builder());
    let wide = studio.member(Codec::G722, WIDE_HZ);
    let beside = studio.join(Joining::with(Codec::Pcmu).sends(Source::silence(Codec::Pcmu)));
    let mut changing = studio.member(Codec::Pcmu, 700.0);
    let check = |changing: &Participant, hears_wide: bool| {
        let codec = changing.remote.codec().expect("a codec");
        studio.in_time(|| {
            let heard = listen(&[changing, &beside, &wide])?;
            let of_wide = level(&heard[0], WIDE_HZ);
            let tolerance = tolerance_db([codec, Codec::G722]);
            let wide_ok = !hears_wide || (of_wide - LEVEL_DBFS).abs() <= tolerance;
            let of_changing = [level(&heard[1], 700.0), level(&heard[2], 700.0)];
            let others_ok = of_changing
                .iter()
                .all(|level| (level - LEVEL_DBFS).abs() <= tolerance);
            if wide_ok && others_ok {
                Ok(())
            } else {
                Err(vec![format!("hears {of_wide:.1}, is heard at {of_changing:.1?}")])
            }
        });
    };
    check(&changing, false);
    beside.stream.set_capture(CaptureMode::Full);
    for codec in [Codec::Opus, Codec::L16(48_000), Codec::Pcmu] {
        let mut offer = changing.offer.clone().only(codec).ptime(10);
        offer.version += 1;
        let response = changing.call.reinvite(&offer, WAIT).expect("a final response");
        assert_eq!(response.status(), Some(200), "{response}");
        let remote = RemoteAudio::parse(&response.body).expect("an answer");
        assert_eq!(
            (remote.codec(), remote.address),
            (Some(codec), changing.remote.address)
        );
        changing.stream.set_formats(&offer.formats);
        changing.stream.set_ptime(10);
        let source = Source::tone(codec, 700.0, LEVEL_DBFS);
        changing.stream.set_source(Some(source));
        (changing.offer, changing.remote) = (offer, remote);
        // No number is missing for the others; timestamps tell of the machine's own pauses as well.
        let report = beside.stream.take_capture().sequence_report(160);
        assert_eq!(
            (report.missing, report.reordered_or_repeated),
            (0, 0),
            "{report:?}"
        );
        check(&changing, is_wide(codec));
        beside.stream.set_capture(CaptureMode::Full);
    }
    for member in [&wide, &beside, &changing] {
        member.leave().expect("left");
    }
}

#[test]
fn other_peoples_phones_speak_wide_band_with_ours() {
    let _alone = exclusive();
    let studio = Studio::open(builder());
    let target = format!("sip:3000@{}", studio.server.sip);
    let conference = studio.server.first_conference().expect("the API");
    let ours = studio.member(Codec::L16(16_000), 5000.0);
    for codec in [Codec::G722, Codec::Opus] {
        let says = meter::sine(
            WIDE_HZ,
            LEVEL_DBFS,
            codec.rate_hz(),
            0,
            40 * codec.rate_hz() as usize,
        );
        let config = BaresipConfig {
            codec,
            ..BaresipConfig::new("ann", &target, says)
        };
        let mut ann = Baresip::start(&config).expect("baresip");
        ann.wait_established(WAIT).expect("answered");
        studio.in_time(|| {
            let level = level(&listen(&[&ours])?[0], WIDE_HZ);
            let ok = (level - LEVEL_DBFS).abs() <= tolerance_db([codec, codec]);
            if ok {
                Ok(())
            } else {
                Err(vec![format!("{codec:?} is heard at {level:.1} dBFS")])
            }
        });
        ann.hang_up().expect("ended");
        conference
            .wait_participants(WAIT, |list| list.len() == 1)
            .expect("it has left");
        let heard = ann.heard().expect("recorded");
        // Its own jitter buffer has seconds in which it repairs: one without is asked for.
        let window = codec.rate_hz() as usize;
        let best = heard
            .chunks_exact(window)
            .map(|second| (meter::tone_dbfs(second, codec.rate_hz(), 5000.0) - LEVEL_DBFS).abs())
            .fold(f64::INFINITY, f64::min);
        assert!(
            best <= tolerance_db([codec, codec]),
            "{codec:?} hears ours off by {best:.1} dB at best, in {} samples; {}",
            heard.len(),
            ann.log()
        );
    }
    ours.leave().expect("left");
}
