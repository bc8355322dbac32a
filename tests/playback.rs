//! What is played into a conference, heard through the real server: to all, to one, from a URL, one behind another, stopped;
//! and the tones when somebody comes or goes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::Duration;

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{sine, tone_dbfs};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source, monotonic_ns};
use confab_testkit::server::{HttpAnswer, HttpClient, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

/// Tones are at −7 dBm0 unless they say otherwise, and full scale of G.711 is 3.14 dBm0.
const TONE_DBFS: f64 = -10.14;
/// What a tone has at least in a window of 20 ms in which it is heard.
const HEARD_DBFS: f64 = -22.0;
/// The same for the tones of coming and going, which begin at −16 dBFS and fall by 50 and then by 33 dB a second.
const FALLING_DBFS: f64 = -30.0;
const WINDOW: usize = 160;

struct Room {
    server: Server,
    client: HttpClient,
    conference: String,
    participants: Vec<Participant>,
    ids: Vec<u64>,
    engine: RtpEngine,
    phone: Phone,
}

impl Room {
    /// Participants who say nothing, in a conference without tones.
    fn of(names: &[&str], builder: ServerBuilder) -> Room {
        let server = builder.start().expect("started");
        let phone = Phone::udp(server.sip).expect("a phone");
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        let control = server.first_conference().expect("the API");
        let mut room = Room {
            client: server.api().expect("a login"),
            conference: control.id().to_owned(),
            participants: Vec::new(),
            ids: Vec::new(),
            server,
            engine,
            phone,
        };
        for name in names {
            room.join(name);
        }
        sleep(Duration::from_millis(500));
        room
    }

    fn join(&mut self, name: &str) {
        let source = Some(Source::silence(Law::Mu));
        let joined = Participant::join_as(&self.phone, &self.engine, "3000", source, name, name);
        self.participants.push(joined.expect("joined"));
        let control = self.server.first_conference().expect("the API");
        let count = self.participants.len();
        control
            .wait_participants(Duration::from_secs(5), |list| list.len() == count)
            .expect("he is in");
        self.ids.push(control.participant(name).expect("listed"));
    }

    fn put(&self, below: &str, action: &str, data: &Value) -> HttpAnswer {
        let path = format!("/conferences/{}{below}", self.conference);
        let body = json!({"data": {"action": action, "data": data}});
        self.client.account("PUT", &path, Some(&body)).expect("answered")
    }

    fn take(&self, below: &str, action: &str, data: &Value) {
        let answer = self.put(below, action, data);
        assert_eq!(answer.status, 202, "{action} {data}: {}", answer.text());
    }

    fn play(&self, media: &str) {
        self.take("", "play", &json!({ "media_id": media }));
    }

    fn capture(&self) {
        for participant in &self.participants {
            participant.stream.set_capture(CaptureMode::Full);
        }
    }

    /// What each hears while something is done, and for so long after it.
    fn hearing(&self, milliseconds: u64, act: impl FnOnce()) -> Vec<Vec<i16>> {
        self.capture();
        act();
        sleep(Duration::from_millis(milliseconds));
        let streams = self.participants.iter().map(|participant| &participant.stream);
        streams.map(|stream| stream.take_capture().samples()).collect()
    }
}

/// The 20 ms windows in which a tone has more than a level, and its level in the loudest of them.
fn windows(samples: &[i16], tone_hz: f64, least_dbfs: f64) -> (Vec<usize>, f64) {
    let levels: Vec<f64> = samples
        .chunks_exact(WINDOW)
        .map(|window| tone_dbfs(window, 8000, tone_hz))
        .collect();
    let heard = levels
        .iter()
        .enumerate()
        .filter(|(_, level)| **level > least_dbfs);
    let loudest = levels.iter().copied().fold(-99.0, f64::max);
    (heard.map(|(at, _)| at).collect(), loudest)
}

/// Says what is wrong with a tone that should sound once for so long at so many dBFS; for no time at all: not be heard.
fn check(who: usize, samples: &[i16], tone_hz: f64, milliseconds: usize, level_dbfs: f64) -> Option<String> {
    let (heard, loudest) = windows(samples, tone_hz, HEARD_DBFS);
    let lasted = heard.len() * 20;
    let fits = if milliseconds == 0 {
        loudest < -45.0
    } else {
        // Its ends fall into the middle of windows.
        lasted.abs_diff(milliseconds) <= 20 && (loudest - level_dbfs).abs() < 1.0
    };
    (!fits).then(|| format!("{who} hears {tone_hz} Hz for {lasted} ms, at {loudest:.1} dBFS at most"))
}

/// Serves one file to whoever asks, until the test ends.
fn serve(file: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                file.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&file));
        }
    });
    address
}

fn wav(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate_hz.to_le_bytes());
    file.extend((2 * rate_hz).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn builder() -> ServerBuilder {
    ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
}

#[test]
fn what_is_played_is_heard_by_whom_it_is_for() {
    let _alone = exclusive();
    let room = Room::of(
        &["ann", "bob", "cleo"],
        builder()
            .set("fetch.allow_private", "true")
            .set("log.level", "\"debug\""),
    );
    let measure = |act: &dyn Fn(), tone_hz: f64, milliseconds: usize, level_dbfs: f64, hearers: &[usize]| {
        in_time(&room.server, &room.engine, || {
            let heard = room.hearing(milliseconds as u64 + 700, act);
            let wrong: Vec<_> = heard
                .iter()
                .enumerate()
                .filter_map(|(who, samples)| {
                    let lasts = if hearers.contains(&who) { milliseconds } else { 0 };
                    check(who, samples, tone_hz, lasts, level_dbfs)
                })
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        });
    };
    let everybody = [0, 1, 2];
    measure(
        &|| room.play("tone_stream://%(500,0,440)"),
        440.0,
        500,
        TONE_DBFS,
        &everybody,
    );
    measure(&|| room.play("%(300,0,800)"), 800.0, 300, TONE_DBFS, &everybody);

    let only_bob = format!("/participants/{}", room.ids[1]);
    let to_bob = || {
        room.take(
            &only_bob,
            "play",
            &json!({"media_id": "tone_stream://v=-13;%(400,0,600)"}),
        )
    };
    measure(&to_bob, 600.0, 400, TONE_DBFS - 6.0, &[1]);
    room.take(&only_bob, "deaf", &json!({}));
    measure(
        &|| room.play("tone_stream://%(400,0,1200)"),
        1200.0,
        400,
        TONE_DBFS,
        &[0, 2],
    );
    measure(&to_bob, 600.0, 400, TONE_DBFS - 6.0, &[1]);
    room.take(&only_bob, "undeaf", &json!({}));

    let address = serve(wav(16_000, &sine(1000.0, -12.0, 16_000, 0, 9600)));
    let from_url = || room.play(&format!("http://{address}/greeting.wav"));
    measure(&from_url, 1000.0, 600, -12.0, &everybody);
    let everybody_by_bulk = || {
        let media = json!({"media_id": "tone_stream://%(300,0,700)"});
        room.take("/participants", "play", &media);
    };
    measure(&everybody_by_bulk, 700.0, 300, TONE_DBFS, &everybody);

    let log = room.server.log();
    for event in [
        "play-file",
        "play-file-done",
        "play-file-member",
        "play-file-member-done",
    ] {
        let told = log
            .lines()
            .filter(|line| line.contains(&format!(" {event} ")) || line.ends_with(event));
        assert!(
            told.count() >= 1 || log.contains(&format!("{event} ")),
            "{event} is not in the log"
        );
    }
}

#[test]
fn plays_wait_for_each_other_and_can_be_stopped() {
    let _alone = exclusive();
    let room = Room::of(&["ann", "bob"], builder());
    in_time(&room.server, &room.engine, || {
        let heard = room.hearing(1300, || {
            room.play("tone_stream://%(300,0,500)");
            room.play("tone_stream://%(300,0,900)");
        });
        let mut wrong = Vec::new();
        for (who, samples) in heard.iter().enumerate() {
            wrong.extend(check(who, samples, 500.0, 300, TONE_DBFS));
            wrong.extend(check(who, samples, 900.0, 300, TONE_DBFS));
            let (first, second) = (
                windows(samples, 500.0, HEARD_DBFS).0,
                windows(samples, 900.0, HEARD_DBFS).0,
            );
            let gap = second
                .first()
                .zip(first.last())
                .map(|(next, last)| next.abs_diff(*last));
            if gap.is_none_or(|gap| gap > 1) || first.last() > second.first() {
                wrong.push(format!("{who} hears {first:?}, then {second:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });

    // Two intervals, the fade of 20 ms, and a packet that is silent as a whole.
    const STOP_MS: f64 = 2.0 * 20.0 + 20.0 + 20.0;
    in_time(&room.server, &room.engine, || {
        room.play("tone_stream://%(9000,0,500)");
        room.play("tone_stream://%(300,0,900)");
        sleep(Duration::from_millis(400));
        room.capture();
        let answer = room.put("", "stop_play", &json!({"affects": "current"}));
        let answered_ns = monotonic_ns() - answer.at.elapsed().as_nanos() as u64;
        assert_eq!(answer.status, 202, "{}", answer.text());
        sleep(Duration::from_millis(800));
        let mut wrong = Vec::new();
        for (who, participant) in room.participants.iter().enumerate() {
            let capture = participant.stream.take_capture();
            let last = capture
                .packets()
                .iter()
                .filter(|packet| tone_dbfs(&capture.decode(packet), 8000, 500.0) > HEARD_DBFS)
                .map(|packet| (packet.arrival_ns as f64 - answered_ns as f64) / 1e6)
                .fold(0.0, f64::max);
            println!("{who} hears the last of it {last:.1} ms after the answer");
            if last > STOP_MS {
                wrong.push(format!("{who} hears it for {last:.0} ms more"));
            }
            wrong.extend(check(who, &capture.samples(), 900.0, 300, TONE_DBFS));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    in_time(&room.server, &room.engine, || {
        room.play("tone_stream://%(9000,0,500);loops=-1");
        room.play("tone_stream://%(300,0,900)");
        sleep(Duration::from_millis(300));
        room.take("", "stop_play", &json!({}));
        sleep(Duration::from_millis(200));
        let heard = room.hearing(500, || {});
        let silent = |(who, samples): (usize, &Vec<i16>)| {
            let tones = [500.0, 900.0].into_iter();
            tones
                .filter_map(move |tone| check(who, samples, tone, 0, 0.0))
                .next()
        };
        let wrong: Vec<_> = heard.iter().enumerate().filter_map(silent).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });

    let unknown = "00000000000000000000000000000000";
    let answer = room.put("", "play", &json!({ "media_id": unknown }));
    assert_eq!(answer.status, 404, "{}", answer.text());
    let envelope = answer.json();
    assert_eq!(
        (&envelope["message"], &envelope["data"]),
        (&json!("bad identifier"), &json!([unknown]))
    );
    // Nobody reaches this machine's own network through the server, unless its operator says so.
    let answer = room.put("", "play", &json!({"media_id": "http://127.0.0.1:1/x.wav"}));
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("fetch.allow_private"), "{}", answer.text());
}

#[test]
fn what_cannot_be_had_is_passed_over_and_endless_silence_can_be_stopped() {
    let _alone = exclusive();
    let room = Room::of(&["ann", "bob"], builder().set("fetch.allow_private", "true"));
    let failed = || {
        let metrics = room.server.metrics().expect("metrics");
        metrics.labelled("confab_plays_failed_total", "reason", "unreachable")
    };
    assert_eq!(failed(), 0.0);
    in_time(&room.server, &room.engine, || {
        let before = failed();
        let heard = room.hearing(1500, || {
            // Nobody listens at this port.
            room.play("http://127.0.0.1:1/gone.wav");
            room.play("tone_stream://%(300,0,900)");
        });
        let wrong: Vec<_> = heard
            .iter()
            .enumerate()
            .filter_map(|(who, samples)| check(who, samples, 900.0, 300, TONE_DBFS))
            .collect();
        assert_eq!(failed() - before, 1.0);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    // Silence of no time or less lasts until it is stopped, and what is behind it waits as for any other play.
    in_time(&room.server, &room.engine, || {
        let waits = room.hearing(700, || {
            room.play("silence_stream://-1");
            room.play("tone_stream://%(300,0,500)");
        });
        let comes = room.hearing(1000, || {
            room.take("", "stop_play", &json!({"affects": "current"}))
        });
        let mut wrong = Vec::new();
        for (who, (before, after)) in waits.iter().zip(&comes).enumerate() {
            wrong.extend(check(who, before, 500.0, 0, 0.0));
            wrong.extend(check(who, after, 500.0, 300, TONE_DBFS));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    let path = format!("/conferences/{}", room.conference);
    let endless = json!({"data": {"play_entry_tone": "silence_stream://-1"}});
    let answer = room
        .client
        .account("PATCH", &path, Some(&endless))
        .expect("answered");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("never ends"), "{}", answer.text());
}

/// How loud a tone is heard: the median of 20 ms windows, so that a moment of a machine that stalls does not count.
fn usual_dbfs(samples: &[i16], tone_hz: f64) -> f64 {
    let mut levels: Vec<f64> = samples
        .chunks_exact(WINDOW)
        .map(|window| tone_dbfs(window, 8000, tone_hz))
        .collect();
    levels.sort_by(f64::total_cmp);
    levels.get(levels.len() / 2).copied().unwrap_or(-99.0)
}

#[test]
fn who_speaks_lowers_what_is_played_by_so_much_and_it_comes_back() {
    const MUSIC_HZ: f64 = 1000.0;
    let _alone = exclusive();
    for duck_db in [12, 0, 25] {
        let mut room = Room::of(&[], builder());
        // A run of the conference keeps what it began with.
        let profile = json!({"data": {"profile": {"duck-db": duck_db}}});
        let path = format!("/conferences/{}", room.conference);
        let answer = room.client.account("PATCH", &path, Some(&profile));
        assert_eq!(answer.expect("answered").status, 200);
        room.join("ann");
        room.join("bob");
        let says = |source| room.participants[0].stream.set_source(Some(source));
        let voice = || Source::tone(Law::Mu, 450.0, -20.0);
        room.play("tone_stream://%(3000,0,1000);loops=-1");
        sleep(Duration::from_millis(500));
        in_time(&room.server, &room.engine, || {
            let mut wrong = Vec::new();
            let mut check = |when: &str, lowered_db: f64| {
                for (who, samples) in room.hearing(500, || {}).iter().enumerate() {
                    let level = usual_dbfs(samples, MUSIC_HZ);
                    println!("{duck_db} dB, {when}: {who} hears the music at {level:.1} dBFS");
                    if (level - (TONE_DBFS - lowered_db)).abs() > 1.0 {
                        wrong.push(format!(
                            "{duck_db} dB, {when}: {who} hears the music at {level:.1} dBFS"
                        ));
                    }
                }
            };
            check("before", 0.0);
            says(voice());
            // Heard to speak, and lowered over 100 ms.
            sleep(Duration::from_millis(700));
            check("while ann speaks", f64::from(duck_db));
            says(Source::silence(Law::Mu));
            // She is taken to speak for 0.8 s more, and then it comes back within a second.
            sleep(Duration::from_millis(2300));
            check("after", 0.0);
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        });
    }
}

#[test]
fn tones_tell_those_inside_who_comes_and_goes() {
    let _alone = exclusive();
    let mut room = Room::of(&[], builder().with_tones());
    room.join("ann");
    room.capture();
    sleep(Duration::from_millis(1500));
    let alone = room.participants[0].stream.take_capture().samples();
    for tone in [523.0, 659.0, 440.0] {
        assert_eq!(
            check(0, &alone, tone, 0, 0.0),
            None,
            "nobody was there to be told"
        );
    }
    room.capture();
    room.join("bob");
    sleep(Duration::from_millis(2000));
    let samples = room.participants[0].stream.take_capture().samples();
    // 300 ms of the first pair, then 800 ms of the second: 659 Hz is in both, and both fall.
    let (both, _) = windows(&samples, 659.0, FALLING_DBFS);
    let (first, _) = windows(&samples, 523.0, FALLING_DBFS);
    let (second, _) = windows(&samples, 783.0, FALLING_DBFS);
    println!(
        "entry: {} windows of 523 Hz, {} of 659, {} of 783",
        first.len(),
        both.len(),
        second.len()
    );
    assert!((10..=17).contains(&first.len()), "{first:?}");
    assert!((25..=42).contains(&both.len()), "{both:?}");
    assert!(
        !second.is_empty() && first.last() < second.last(),
        "{first:?} {second:?}"
    );
    room.capture();
    let bob = room.participants.pop().expect("he is in");
    bob.leave().expect("left");
    sleep(Duration::from_millis(2000));
    let samples = room.participants[0].stream.take_capture().samples();
    let (low, _) = windows(&samples, 440.0, FALLING_DBFS);
    let (last, _) = windows(&samples, 349.0, FALLING_DBFS);
    println!("exit: {} windows of 440 Hz, {} of 349", low.len(), last.len());
    assert!((25..=42).contains(&low.len()), "{low:?}");
    assert!(!last.is_empty(), "349 Hz is heard");
}
