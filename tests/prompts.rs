//! What the server says, heard through the real server: prompts in a language, phrases with numbers, hold music without an end, and
//! an operator's own prompts.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use confab_dsp::{Resampler, ResamplerTable};
use confab_prompts::{Phrase, built_in, music};
use confab_recording::{ImportLimits, import};
use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{Match, find, rms_dbfs, sine};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpAnswer, HttpClient, Server, ServerBuilder, exclusive};
use confab_testkit::wav::Wav;
use serde_json::{Value, json};

const RATE_HZ: usize = 8000;

struct Room {
    client: HttpClient,
    conference: String,
    participants: Vec<Participant>,
    ids: Vec<u64>,
    engine: RtpEngine,
    _phone: Phone,
    server: Server,
}

impl Room {
    /// Two phones that say nothing, in a conference without tones.
    fn of_two(builder: ServerBuilder) -> Room {
        let server = builder.start().expect("started");
        let phone = Phone::udp(server.sip).expect("a phone");
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        let control = server.first_conference().expect("the API");
        let (mut participants, mut ids) = (Vec::new(), Vec::new());
        for (count, name) in ["ann", "bob"].into_iter().enumerate() {
            let source = Some(Source::silence(Law::Mu));
            participants
                .push(Participant::join_as(&phone, &engine, "3000", source, name, name).expect("joined"));
            control
                .wait_participants(Duration::from_secs(5), |list| list.len() == count + 1)
                .expect("he is in");
            ids.push(control.participant(name).expect("listed"));
        }
        sleep(Duration::from_millis(500));
        Room {
            client: server.api().expect("a login"),
            conference: control.id().to_owned(),
            participants,
            ids,
            engine,
            _phone: phone,
            server,
        }
    }

    fn put(&self, below: &str, action: &str, data: &Value) -> HttpAnswer {
        let path = format!("/conferences/{}{below}", self.conference);
        let body = json!({"data": {"action": action, "data": data}});
        self.client.account("PUT", &path, Some(&body)).expect("answered")
    }

    fn play(&self, below: &str, media: &str) {
        let answer = self.put(below, "play", &json!({ "media_id": media }));
        assert_eq!(answer.status, 202, "{media}: {}", answer.text());
    }

    /// What both hear while something is played, and for so long after it was asked for.
    fn hearing(&self, seconds: f64, act: impl FnOnce()) -> [Vec<i16>; 2] {
        for participant in &self.participants {
            participant.stream.set_capture(CaptureMode::Full);
        }
        act();
        sleep(Duration::from_secs_f64(seconds));
        [0, 1].map(|who| self.participants[who].stream.take_capture().samples())
    }
}

/// What a file sounds like on a telephone.
fn telephone(file: &[u8]) -> Vec<i16> {
    let audio = import(file, ImportLimits::default()).expect("decodes");
    let table = ResamplerTable::get(audio.rate_hz, RATE_HZ as u32).expect("a rate of prompts");
    let mut resampler = Resampler::new();
    resampler.set(table);
    let mut samples = vec![0; audio.samples.len()];
    let mut written = 0;
    for block in audio.samples.chunks(160) {
        written += resampler.process(block, &mut samples[written..]);
    }
    samples.truncate(written);
    samples
}

fn seconds(samples: &[i16]) -> f64 {
    samples.len() as f64 / RATE_HZ as f64
}

/// Says what is wrong with a sound that should be heard as it is; judged by a second and a half of it. It begins in silence, of which
/// a listener to whom nothing was sent may miss a few samples: those are left out.
fn check(what: &str, sound: &[i16], heard: &[i16]) -> Result<Match, String> {
    let found = find(&sound[RATE_HZ / 20..sound.len().min(3 * RATE_HZ / 2)], heard)
        .ok_or_else(|| format!("{what}: nothing is heard"))?;
    println!("{what}: {found:?}");
    if found.correlation < 0.98 || found.gain_db.abs() > 0.3 {
        return Err(format!("{what}: {found:?}"));
    }
    Ok(found)
}

fn all_right<T>(findings: Vec<Result<T, String>>) -> Result<(), Vec<String>> {
    let wrong: Vec<String> = findings.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn prompt(language: &str, id: &str) -> Vec<i16> {
    telephone(built_in(language, id).expect("built in").audio)
}

/// A folder of own prompts, gone when the test ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn prompts_are_heard_as_they_are() {
    let _alone = exclusive();
    let folder = Folder(std::env::temp_dir().join(format!("confab-own-prompts-{}", std::process::id())));
    let english = folder.0.join("en-us");
    std::fs::create_dir_all(&english).expect("a folder");
    let own = sine(700.0, -20.0, 8000, 0, 4000);
    let file = Wav {
        rate_hz: 8000,
        samples: own.clone(),
    };
    file.write(&english.join("conf-muted.wav")).expect("written");
    std::fs::write(english.join("conf-deaf.wav"), "no audio").expect("written");
    let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"));
    let room = Room::of_two(builder.set("media.prompts", &format!("{:?}", folder.0)));
    let log = room.server.log();
    assert!(
        log.contains("conf-deaf.wav") && log.contains("neither WAV"),
        "the operator is told of a bad file: {log}"
    );

    // To all.
    let welcome = prompt("en-us", "conf-welcome");
    in_time(&room.server, &room.engine, || {
        let heard = room.hearing(seconds(&welcome) + 0.8, || {
            room.play("", "prompt:en-us/conf-welcome")
        });
        all_right(
            heard
                .iter()
                .map(|heard| check("welcome", &welcome, heard))
                .collect(),
        )
    });
    // To one, in a language whose country is not there; nobody else hears it.
    let alone = prompt("de-de", "conf-alone");
    in_time(&room.server, &room.engine, || {
        let below = format!("/participants/{}", room.ids[1]);
        let [ann, bob] = room.hearing(seconds(&alone) + 0.8, || {
            room.play(&below, "prompt:de-at/conf-alone")
        });
        let silent = if rms_dbfs(&ann) < -60.0 {
            Ok(())
        } else {
            Err("ann hears it too".to_owned())
        };
        all_right(vec![check("alone", &alone, &bob).map(drop), silent])
    });
    // A phrase: its parts stand one behind another without a gap.
    let phrase = Phrase::new()
        .prompt("conf-there_are")
        .number(121)
        .prompt("conf-callers")
        .in_language("en-us");
    let parts: Vec<Vec<i16>> = phrase.ids().iter().map(|id| prompt("en-us", id)).collect();
    in_time(&room.server, &room.engine, || {
        let lasts: f64 = parts.iter().map(|part| seconds(part)).sum();
        let [ann, _] = room.hearing(lasts + 0.8, || room.play("", &phrase.to_string()));
        let found: Vec<_> = parts.iter().map(|part| check("part", part, &ann)).collect();
        let expected = parts.windows(2).zip(found.windows(2)).map(|(parts, found)| {
            let [Ok(first), Ok(second)] = found else {
                return Ok(());
            };
            let gap = second.offset as f64 - (first.offset + parts[0].len()) as f64;
            if gap.abs() < 16.0 {
                Ok(())
            } else {
                Err(format!("{gap} samples between two parts"))
            }
        });
        let gaps: Vec<Result<(), String>> = expected.collect();
        all_right(
            found
                .into_iter()
                .map(|found| found.map(drop))
                .chain(gaps)
                .collect(),
        )
    });
    // The operator's own comes first; the bad one is not there, and the built-in one is heard.
    let deaf = prompt("en-us", "conf-deaf");
    in_time(&room.server, &room.engine, || {
        let [ann, _] = room.hearing(1.2, || room.play("", "conf-muted"));
        let [_, bob] = room.hearing(seconds(&deaf) + 0.8, || room.play("", "conf-deaf"));
        all_right(vec![check("own", &own, &ann), check("deaf", &deaf, &bob)])
    });
    for (unknown, status) in [
        ("prompt:en-us/conf-nothing", 404),
        ("moh:jazz", 404),
        ("say:hello", 400),
    ] {
        let answer = room.put("", "play", &json!({ "media_id": unknown }));
        assert_eq!(answer.status, status, "{unknown}: {}", answer.text());
    }
}

#[test]
fn hold_music_goes_on_until_it_is_stopped() {
    let _alone = exclusive();
    let room = Room::of_two(ServerBuilder::new(env!("CARGO_BIN_EXE_confab")));
    let whole = telephone(music("default").expect("built in").audio);
    // Its fourth second; it begins softly.
    let stretch = &whole[3 * RATE_HZ..4 * RATE_HZ];
    in_time(&room.server, &room.engine, || {
        let [ann, bob] = room.hearing(5.0, || room.play("", "moh:default"));
        let answer = room.put("", "stop_play", &json!({}));
        assert_eq!(answer.status, 202, "{}", answer.text());
        sleep(Duration::from_millis(200));
        let after = room.hearing(0.5, || {});
        let mut findings = vec![check("music", stretch, &ann), check("music", stretch, &bob)];
        for heard in &after {
            if rms_dbfs(heard) > -60.0 {
                findings.push(Err("it goes on after it was stopped".to_owned()));
            }
        }
        all_right(findings)
    });
}
