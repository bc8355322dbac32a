//! What one caller hears when several sounds are for him: one at a time, and none of coming and going is lost. Beyond the checklist.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::Duration;

use confab_testkit::agent::{Joining, Participant};
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::tone_dbfs;
use confab_testkit::rtp::{CaptureMode, Source};
use confab_testkit::timeline::Recording;
use serde_json::{Value, json};

use crate::ears::{bursts, clearly, heard, lasts_ms};
use crate::fixture::{Caller, Room, SOON, Site, is_success, number, soon};

const LONG: &str = "tone_stream://%(5000,0,500)";
const LONG_HZ: f64 = 500.0;
const ENTRY: &str = "tone_stream://%(400,0,1300)";
const TONE_HZ: f64 = 1300.0;

/// A room whose callers can mute themselves, and are told so.
fn room(more: Value) -> Room {
    let mut document = json!({
        "caller_controls": "default",
        "profile": {"muted-sound": "conf-muted", "unmuted-sound": "conf-unmuted", "comfort-noise": 0}
    });
    for (key, value) in more.as_object().expect("an object") {
        document[key] = value.clone();
    }
    Room::new(document)
}

fn play(room: &Room, to: Option<&Caller>, media: &str) {
    let below = to.map_or(String::new(), |caller| format!("/participants/{}", caller.id));
    let body = json!({"data": {"action": "play", "data": {"media_id": media}}});
    is_success(&room.put(&below, &body), 202);
}

fn milliseconds(count: u64) {
    sleep(Duration::from_millis(count));
}

fn hears(recording: &Recording, (from, to): (usize, usize), tone_hz: f64) -> bool {
    tone_dbfs(recording.between(from, to), 8000, tone_hz) > -35.0
}

/// Windows of 20 ms in which two tones are heard at once.
fn both(samples: &[i16], tones_hz: [f64; 2]) -> usize {
    let windows = samples.chunks_exact(160);
    windows
        .filter(|window| tones_hz.iter().all(|&hz| tone_dbfs(window, 8000, hz) > -30.0))
        .count()
}

/// Returns when a tone begins, ms.
fn begins(samples: &[i16], tone_hz: f64) -> Option<usize> {
    let mut windows = samples.chunks_exact(160);
    windows
        .position(|window| tone_dbfs(window, 8000, tone_hz) > -30.0)
        .map(|at| at * 20)
}

fn judged(findings: impl IntoIterator<Item = (bool, String)>) -> Result<(), Vec<String>> {
    let wrong: Vec<String> = findings
        .into_iter()
        .filter_map(|(is_right, finding)| (!is_right).then_some(finding))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[test]
fn a_prompt_takes_the_place_of_what_plays_to_all_for_its_hearer_alone() {
    let room = room(json!({}));
    let (ann, bob) = (room.member("ann"), room.member("bob"));
    for keys_first in [false, true] {
        in_time(&room.site.server, &room.engine, || {
            is_success(&room.act_on(&ann, "unmute"), 202);
            milliseconds(2500);
            let mut samples = heard(&[&ann, &bob], 5500, || {
                if keys_first {
                    ann.participant.types("*1").expect("sent");
                    milliseconds(200);
                    play(&room, None, LONG);
                } else {
                    play(&room, None, LONG);
                    milliseconds(800);
                    ann.participant.types("*1").expect("sent");
                }
            });
            let all = lasts_ms(&samples.remove(1), LONG_HZ);
            let his = Recording::new(8000, samples.remove(0));
            let muted = clearly(&his, "conf-muted")?;
            let behind = (muted.until_ms + 200, muted.until_ms + 1200);
            judged([
                (hears(&his, behind, LONG_HZ), "the rest is not heard".to_owned()),
                (
                    all.abs_diff(5000) < 100,
                    format!("the other hears it for {all} ms"),
                ),
            ])
        });
    }
}

#[test]
fn who_comes_while_one_is_told_something_is_announced_to_him_afterwards() {
    let room = room(json!({"play_entry_tone": ENTRY}));
    let (ann, bob) = (room.member("ann"), room.member("bob"));
    milliseconds(1500);
    in_time(&room.site.server, &room.engine, || {
        let mut samples = heard(&[&ann, &bob], 3500, || {
            play(&room, Some(&ann), "tone_stream://%(2500,0,900)");
            milliseconds(300);
            room.member("eve").participant.leave().expect("left");
            soon("two", || (room.participants().len() == 2).then_some(()));
        });
        let (others, his) = (samples.remove(1), samples.remove(0));
        let told = lasts_ms(&his, 900.0);
        let tones = [&his, &others].map(|samples| bursts(samples, TONE_HZ));
        let (own, late) = (begins(&his, 900.0), begins(&his, TONE_HZ));
        judged([
            (
                told.abs_diff(2500) < 100,
                format!("he is told something for {told} ms"),
            ),
            (both(&his, [900.0, TONE_HZ]) == 0, "two sounds at once".to_owned()),
            (tones == [1, 1], format!("tones: {tones:?}")),
            (own < late, format!("{own:?}, then {late:?}")),
        ])
    });
}

/// A WAV file of a tone, served `delay_ms` after it was asked for.
fn serve_late(delay_ms: u64) -> SocketAddr {
    let samples: Vec<i16> = (0..3200)
        .map(|n| (8000.0 * (f64::from(n) * TONE_HZ * std::f64::consts::TAU / 8000.0).sin()) as i16)
        .collect();
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            milliseconds(delay_ms);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                file.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&file));
        }
    });
    address
}

#[test]
fn who_stays_alone_hears_that_somebody_left_however_long_its_sound_is_fetched() {
    let site: &'static Site = Box::leak(Box::new(Site::start(&[("fetch.allow_private", "true")])));
    // Longer than it is waited for, he hears that he is alone first.
    for (delay_ms, alone_first) in [(300, false), (1600, true)] {
        let mut attempt = 0;
        let server = serve_late(delay_ms);
        let room = Room::at(site, json!({}));
        in_time(&site.server, &room.engine, || {
            // An address of its own each time: it is new to the server.
            attempt += 1;
            let room = Room::at(
                site,
                json!({
                    "play_exit_tone": format!("http://{server}/{attempt}.wav"),
                    "profile": {"alone-sound": "tone_stream://%(1200,0,850)", "comfort-noise": 0}
                }),
            );
            let (ann, bob) = (room.member("ann"), room.member("bob"));
            milliseconds(1500);
            let samples = heard(&[&ann], 4500, || bob.participant.leave().expect("left")).remove(0);
            let (left, alone) = (begins(&samples, TONE_HZ), begins(&samples, 850.0));
            let (told, tone) = (lasts_ms(&samples, 850.0), lasts_ms(&samples, TONE_HZ));
            judged([
                (
                    left.is_some() && alone.is_some(),
                    "one of them is lost".to_owned(),
                ),
                (
                    (alone < left) == alone_first,
                    format!("alone at {alone:?}, left at {left:?}"),
                ),
                (
                    both(&samples, [850.0, TONE_HZ]) == 0,
                    "two sounds at once".to_owned(),
                ),
                (
                    told.abs_diff(1200) < 60 && tone.abs_diff(400) < 60,
                    format!("{told} and {tone} ms"),
                ),
            ])
        });
    }
}

#[test]
fn a_waiting_member_is_told_so_before_the_music_and_is_shown_waiting() {
    let room = Room::new(json!({
        "wait_for_moderator": true,
        "profile": {"moh-sound": LONG, "comfort-noise": 0}
    }));
    in_time(&room.site.server, &room.engine, || {
        let caller = "ann";
        let participant = Participant::join_as(
            &room.phone,
            &room.engine,
            &room.number,
            Some(Source::silence(Law::Mu)),
            caller,
            caller,
        )
        .expect("joined");
        participant.stream.set_capture(CaptureMode::Full);
        milliseconds(6000);
        let recording = Recording::new(8000, participant.stream.take_capture().samples());
        let shown = soon("ann", || room.participants().into_iter().next());
        let flags = ["waiting", "hear", "speak"].map(|flag| shown[flag] == true);
        let boss = room.moderator("boss");
        let released = soon("her release", || {
            let all = room.participants();
            all.iter().all(|one| one["waiting"] == false).then_some(all.len())
        });
        boss.participant.leave().expect("left");
        participant.leave().expect("left");
        soon("its end", || room.participants().is_empty().then_some(()));
        assert_eq!((flags, released), ([true; 3], 2), "{shown}");
        // Its very beginning may come before the capture.
        let told = recording.find(&crate::ears::prompt("conf-waiting_for_moderator"));
        let [told] = &told[..] else {
            return Err(vec![format!("told {told:?}")]);
        };
        let music = (told.until_ms + 200, told.until_ms + 1200);
        judged([
            (told.share > 0.85 && told.gain_db.abs() < 1.0, format!("{told:?}")),
            (hears(&recording, music, LONG_HZ), "no music behind it".to_owned()),
        ])
    });
}

#[test]
fn a_repeated_mute_is_told_again_by_whichever_way() {
    let room = room(json!({"profile": {"muted-sound": "tone_stream://%(200,0,850)", "comfort-noise": 0}}));
    let ann = room.member("ann");
    in_time(&room.site.server, &room.engine, || {
        let samples = heard(&[&ann], 800, || {
            for _ in 0..2 {
                is_success(&room.act_on(&ann, "mute"), 202);
                milliseconds(600);
            }
        })
        .remove(0);
        let told = bursts(&samples, 850.0);
        judged([(told == 2, format!("told {told} times"))])
    });
}

#[test]
fn a_caller_whose_conference_goes_while_he_types_is_told_before_he_is_hung_up() {
    let idle = Room::new(json!({}));
    in_time(&idle.site.server, &idle.engine, || {
        let number = number();
        let room = Room::new(json!({
            "conference_numbers": [number], "member": {"pins": ["1234"]}, "play_entry_prompt": false,
        }));
        let joining = Joining::default().sends(Source::silence(Law::Mu)).caller("ann");
        let ann = joining
            .join(&room.phone, &room.engine, &number)
            .expect("answered");
        milliseconds(500);
        ann.types("12").expect("sent");
        is_success(&room.site.ask("DELETE", &room.path, &Value::Null), 200);
        milliseconds(300);
        ann.stream.set_capture(CaptureMode::Full);
        ann.types("34#").expect("sent");
        let (_, bye) = ann.call.wait_request("BYE", SOON).expect("turned away");
        let reason = bye.header("Reason").unwrap_or_default();
        assert!(reason.contains("503"), "{reason}");
        let recording = Recording::new(8000, ann.stream.take_capture().samples());
        let told = recording.find(&crate::ears::prompt("conf-unavailable"));
        match &told[..] {
            [told] if told.share > 0.85 => Ok(()),
            _ => Err(vec![format!("{told:?}")]),
        }
    });
}
