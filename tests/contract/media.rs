//! Lines 83, 183, 197 to 199 and 201: files of media documents, kept, sent back, heard, and in the place of prompts.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use confab_dsp::{Resampler, ResamplerTable};
use confab_recording::{ImportLimits, import, wav};
use confab_testkit::agent::{Joining, Participant};
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{find, sine, tone_dbfs};
use confab_testkit::rtp::{CaptureMode, Source};
use confab_testkit::server::HttpAnswer;
use serde_json::{Value, json};

use crate::ears::{bursts, heard, lasts_ms};
use crate::fixture::{Caller, Room, SOON, Site, breaks, is_error, is_success, number, site, soon};

/// Level of the files, and what a tone has at least in telephony when it is heard as it is.
const FILE_DBFS: f64 = -15.0;
const LEAST_DBFS: f64 = -16.5;

/// A file with a tone.
fn tone(tone_hz: f64, milliseconds: usize) -> Vec<u8> {
    let samples = sine(tone_hz, FILE_DBFS, 16_000, 0, 16 * milliseconds);
    wav(16_000, &samples).expect("a rate of conferences")
}

/// The same of 440 Hz in another kind, made with ffmpeg.
fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/import");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn send(site: &Site, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    site.api
        .send(method, &site.url(path), headers, body)
        .expect("answered")
}

fn upload(site: &Site, id: &str, kind: &str, body: &[u8]) -> HttpAnswer {
    send(
        site,
        "POST",
        &format!("/media/{id}/raw"),
        &[("Content-Type", kind)],
        body,
    )
}

/// Makes a document with a file and returns its id.
fn medium(site: &Site, document: Value, kind: &str, body: &[u8]) -> String {
    let id = site.make("media", document)["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    is_success(&upload(site, &id, kind, body), 200);
    id
}

fn play(media: &str) -> Value {
    json!({"action": "play", "data": {"media_id": media}})
}

#[test]
fn line_083_stored_media_are_heard_by_everybody_as_they_are() {
    let room = Room::new(json!({}));
    let callers = [room.member("ann"), room.member("bob")];
    let everybody: Vec<&Caller> = callers.iter().collect();
    let account = room.site.api.account_id();
    let own = medium(
        room.site,
        json!({"name": "tone"}),
        "audio/wav",
        &tone(700.0, 1000),
    );
    let mp3 = sample("tone-mp3");
    let lasts = import(&mp3, ImportLimits::default()).expect("decodes");
    let lasts = lasts.samples.len() * 1000 / lasts.rate_hz as usize;
    let other = medium(room.site, json!({"name": "mp3"}), "audio/mpeg", &mp3);
    let cases = [
        (own.clone(), 700.0, 1000),
        (format!("/{account}/{own}"), 700.0, 1000),
        (other, 440.0, lasts),
    ];
    sleep(Duration::from_millis(300));
    in_time(&room.site.server, &room.engine, || {
        let mut wrong = Vec::new();
        for (media, tone_hz, milliseconds) in &cases {
            let wait = *milliseconds as u64 + 600;
            let heard = heard(&everybody, wait, || {
                is_success(&room.put("", &play(media)), 202);
            });
            for (who, samples) in heard.iter().enumerate() {
                let (lasted, times) = (lasts_ms(samples, *tone_hz), bursts(samples, *tone_hz));
                let loudest = samples
                    .chunks_exact(160)
                    .map(|window| tone_dbfs(window, 8000, *tone_hz));
                let loudest = loudest.fold(-99.0, f64::max);
                if lasted.abs_diff(*milliseconds) > 80
                    || times != 1
                    || (*tone_hz == 700.0 && !(LEAST_DBFS..FILE_DBFS + 1.0).contains(&loudest))
                {
                    wrong.push(format!(
                        "{who} hears {media} {times} times, {lasted} ms, {loudest:.1} dBFS"
                    ));
                }
            }
        }
        // To one alone.
        let one = play(&own);
        let heard = heard(&everybody, 1600, || {
            is_success(&room.put(&format!("/participants/{}", callers[0].id), &one), 202);
        });
        let lasted = [lasts_ms(&heard[0], 700.0), lasts_ms(&heard[1], 700.0)];
        if lasted[0].abs_diff(1000) > 80 || lasted[1] > 0 {
            wrong.push(format!("to one: {lasted:?}"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    // Another file in its place is what is heard from then on.
    is_success(&upload(room.site, &own, "audio/wav", &tone(1100.0, 500)), 200);
    let samples = heard(&everybody[..1], 1200, || {
        is_success(&room.put("", &play(&own)), 202);
    });
    assert_eq!(lasts_ms(&samples[0], 700.0), 0);
    assert!(lasts_ms(&samples[0], 1100.0) >= 400);
}

#[test]
fn line_083_stored_media_are_tones_music_and_what_callers_hear_before() {
    let entry = medium(site(), json!({"name": "in"}), "audio/wav", &tone(1300.0, 300));
    let music = medium(site(), json!({"name": "music"}), "audio/wav", &tone(500.0, 1000));
    let full = medium(site(), json!({"name": "full"}), "audio/wav", &tone(900.0, 700));
    let room = Room::new(json!({
        "play_entry_tone": entry, "max_participants": 2, "max_members_media": full,
        "profile": {"moh-sound": music},
    }));
    let ann = room.member("ann");
    // Alone, he hears the music, over and over.
    let samples = heard(&[&ann], 4000, || ());
    assert!(
        lasts_ms(&samples[0], 500.0) >= 3500,
        "{}",
        lasts_ms(&samples[0], 500.0)
    );
    let mut bob = None;
    let samples = heard(&[&ann], 1500, || bob = Some(room.member("bob")));
    let lasted = lasts_ms(&samples[0], 1300.0);
    assert!(lasted.abs_diff(300) <= 80, "{lasted} ms");
    let late = Joining::default().sends(Source::silence(Law::Mu)).caller("late");
    let late = late
        .join(&room.phone, &room.engine, &room.number)
        .expect("answered");
    late.stream.set_capture(CaptureMode::Full);
    late.call.wait_request("BYE", 2 * SOON).expect("turned away");
    let lasted = lasts_ms(&late.stream.take_capture().samples(), 900.0);
    assert!(lasted >= 600, "{lasted} ms");
}

/// What a built-in prompt sounds like on a telephone.
fn built_in(id: &str) -> Vec<i16> {
    let prompt = confab_prompts::built_in("en-us", id).expect("built in");
    let audio = import(prompt.audio, ImportLimits::default()).expect("decodes");
    let table = ResamplerTable::get(audio.rate_hz, 8000).expect("a rate of prompts");
    let mut resampler = Resampler::new();
    resampler.set(table);
    let mut samples = vec![0; audio.samples.len()];
    let written = resampler.process(&audio.samples, &mut samples);
    samples.truncate(written);
    samples
}

fn is_said(id: &str, heard: &[i16]) -> bool {
    let sound = built_in(id);
    let part = &sound[400..sound.len().min(8000)];
    find(part, heard).is_some_and(|found| found.correlation > 0.95)
}

#[test]
fn line_183_prompts_in_the_conferences_language() {
    // Of a language that no other test speaks.
    for (id, tone_hz) in [("conf-unmuted", 700.0), ("conf-enter_conf_pin", 900.0)] {
        let document = json!({"name": id, "prompt_id": id, "language": "fr"});
        let made = medium_of_prompt(document, &tone(tone_hz, 800));
        assert_eq!(made, format!("fr%2F{id}"));
    }
    let number = number();
    let room = Room::new(json!({
        "language": "fr", "conference_numbers": [number], "member": {"join_muted": false, "pins": ["1234"], "play_entry_prompt": true},
        "profile": {"unmuted-sound": "conf-unmuted", "undeaf-sound": "conf-undeaf"},
    }));
    let joining = Joining::default().sends(Source::silence(Law::Mu)).caller("ann");
    let ann: Participant = joining
        .join(&room.phone, &room.engine, &number)
        .expect("answered");
    ann.stream.set_capture(CaptureMode::Full);
    sleep(Duration::from_millis(1500));
    let asked = ann.stream.take_capture().samples();
    assert!(
        lasts_ms(&asked, 900.0) >= 700,
        "asked in French: {} ms",
        lasts_ms(&asked, 900.0)
    );
    ann.types("1234#").expect("sent");
    let id = soon("ann", || room.participants().first()?["participant_id"].as_u64());
    let ann = Caller { participant: ann, id };
    sleep(Duration::from_millis(300));
    let after = |before: &str, action: &str| {
        is_success(&room.act_on(&ann, before), 202);
        heard(&[&ann], 2500, || {
            is_success(&room.act_on(&ann, action), 202);
        })
        .remove(0)
    };
    in_time(&room.site.server, &room.engine, || {
        let (unmuted, undeaf) = (after("mute", "unmute"), after("deaf", "undeaf"));
        let mut wrong = Vec::new();
        if lasts_ms(&unmuted, 700.0).abs_diff(800) > 80 || is_said("conf-unmuted", &unmuted) {
            wrong.push(format!(
                "unmuted is told in French for {} ms",
                lasts_ms(&unmuted, 700.0)
            ));
        }
        if lasts_ms(&undeaf, 700.0) > 0 || !is_said("conf-undeaf", &undeaf) {
            wrong.push("undeaf is not told in English".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    // Without the French prompt, English is said at once.
    is_success(
        &site().ask("DELETE", "/media/fr%2Fconf-unmuted", &Value::Null),
        200,
    );
    assert!(is_said("conf-unmuted", &after("mute", "unmute")));
    is_success(
        &site().ask("DELETE", "/media/fr%2Fconf-enter_conf_pin", &Value::Null),
        200,
    );
}

fn medium_of_prompt(document: Value, file: &[u8]) -> String {
    medium(site(), document, "audio/x-wav", file)
}

#[test]
fn line_197_audio_comes_back_as_it_was_uploaded() {
    for (kind, bytes) in [
        ("audio/mpeg", sample("tone-mp3")),
        ("audio/wav", tone(440.0, 20_000)),
        ("audio/ogg", sample("tone-stereo-ogg")),
    ] {
        let id = site().make("media", json!({"name": "file"}))["id"].take();
        let id = id.as_str().expect("an id");
        let document = is_success(&upload(site(), id, kind, &bytes), 200);
        assert_eq!(
            (
                &document["content_type"],
                &document["content_length"],
                &document["media_source"]
            ),
            (&json!(kind), &json!(bytes.len()), &json!("upload"))
        );
        let path = format!("/media/{id}");
        let raw = send(site(), "GET", &format!("{path}/raw"), &[], b"");
        let audio = send(site(), "GET", &path, &[("Accept", "audio/*")], b"");
        for answer in [raw, audio] {
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
            assert!(answer.body == bytes, "{kind}: {} bytes", answer.body.len());
        }
        let head = send(site(), "HEAD", &format!("{path}/raw"), &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(
            head.header("content-length"),
            Some(bytes.len().to_string().as_str())
        );
        // The other way to upload.
        is_success(
            &send(site(), "POST", &path, &[("Content-Type", kind)], &bytes),
            200,
        );
        assert_eq!(is_success(&site().get(&path), 200)["name"], "file");
    }
}

#[test]
fn line_198_a_part_of_the_audio_can_be_read() {
    let bytes = tone(440.0, 20_000);
    let id = medium(site(), json!({"name": "file"}), "audio/wav", &bytes);
    let path = format!("/media/{id}/raw");
    for (range, from, to) in [
        ("bytes=0-99", 0, 100),
        ("bytes=262100-524400", 262_100, 524_401),
        ("bytes=-1", bytes.len() - 1, bytes.len()),
    ] {
        let answer = send(site(), "GET", &path, &[("Range", range)], b"");
        assert_eq!(answer.status, 206, "{range}");
        let told = format!("bytes {from}-{}/{}", to - 1, bytes.len());
        assert_eq!(answer.header("content-range"), Some(told.as_str()));
        assert!(answer.body == bytes[from..to], "{range}");
    }
    let beyond = send(site(), "GET", &path, &[("Range", "bytes=9999999-")], b"");
    is_error(&beyond, 416, "range_not_satisfiable");
}

#[test]
fn line_199_an_upload_has_a_body() {
    let id = site().make("media", json!({"name": "file"}))["id"].take();
    let id = id.as_str().expect("an id");
    for path in [format!("/media/{id}/raw"), format!("/media/{id}")] {
        let answer = send(site(), "POST", &path, &[("Content-Type", "audio/wav")], b"");
        breaks(&is_error(&answer, 400, "validation error"), "file", "required");
    }
    // Nor is everything a file that is called one.
    let lie = upload(site(), id, "audio/wav", b"<!DOCTYPE html>");
    breaks(&is_error(&lie, 400, "validation error"), "file", "invalid");
    let lie = upload(site(), id, "audio/mpeg", &tone(440.0, 100));
    breaks(
        &is_error(&lie, 400, "validation error"),
        "content_type",
        "invalid",
    );
    let large = upload(site(), id, "audio/wav", &vec![0; 12_000_000]);
    is_error(&large, 413, "request_too_large");
    let stranger = site().anonymous(
        "POST",
        &site().url(&format!("/media/{id}/raw")),
        &[("Content-Type", "audio/wav")],
        "x",
    );
    is_error(&stranger, 401, "invalid_credentials");
}

#[test]
fn line_201_a_deleted_medium_is_not_played() {
    let room = Room::new(json!({}));
    let ann = room.member("ann");
    let id = medium(room.site, json!({"name": "tone"}), "audio/wav", &tone(700.0, 400));
    let samples = heard(&[&ann], 1000, || {
        is_success(&room.put("", &play(&id)), 202);
    });
    assert!(lasts_ms(&samples[0], 700.0) >= 300);
    let path = format!("/media/{id}");
    is_success(&room.site.ask("DELETE", &path, &Value::Null), 200);
    is_error(&room.site.get(&path), 404, "bad_identifier");
    let raw = room.site.get(&format!("{path}/raw"));
    is_error(&raw, 404, "bad_identifier");
    let played = room.put("", &play(&id));
    assert_eq!(is_error(&played, 404, "bad identifier"), json!([id]));
}
