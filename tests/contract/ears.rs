//! What callers hear, measured by tones and by the built-in prompts.

use std::thread::sleep;
use std::time::Duration;

use confab_dsp::{Resampler, ResamplerTable};
use confab_prompts::built_in;
use confab_recording::{ImportLimits, import};
use confab_testkit::in_time::in_time;
use confab_testkit::meter::tone_dbfs;
use confab_testkit::rtp::CaptureMode;
use confab_testkit::timeline::{Heard, KnownSound, Recording};

use crate::fixture::{Caller, Room};

/// 20 ms at 8 kHz.
const WINDOW: usize = 160;

/// Returns an English prompt as it sounds on a telephone.
pub(crate) fn prompt(id: &str) -> KnownSound {
    let file = built_in("en-us", id).expect("built in").audio;
    let audio = import(file, ImportLimits::default()).expect("decodes");
    let mut resampler = Resampler::new();
    resampler.set(ResamplerTable::get(audio.rate_hz, 8000).expect("a rate of prompts"));
    let mut samples = vec![0; audio.samples.len()];
    let mut written = 0;
    for block in audio.samples.chunks(160) {
        written += resampler.process(block, &mut samples[written..]);
    }
    samples.truncate(written);
    KnownSound::new(id, samples)
}

/// Returns where a prompt is heard: once, all of it, at its own level and with nothing over it. Says what is wrong otherwise.
pub(crate) fn clearly(recording: &Recording, id: &str) -> Result<Heard, Vec<String>> {
    match &recording.find(&prompt(id))[..] {
        [once] if once.share > 0.99 && once.gain_db.abs() < 1.0 => Ok(once.clone()),
        found => Err(vec![format!("{id} is heard as {found:?}")]),
    }
}

/// Returns what each of them hears from now on for so long, while something is done at its beginning.
pub(crate) fn heard(callers: &[&Caller], milliseconds: u64, act: impl FnOnce()) -> Vec<Vec<i16>> {
    for caller in callers {
        caller.participant.stream.set_capture(CaptureMode::Full);
    }
    act();
    sleep(Duration::from_millis(milliseconds));
    callers
        .iter()
        .map(|caller| caller.participant.stream.take_capture().samples())
        .collect()
}

/// Returns for how long a tone is louder than −30 dBFS, in ms.
pub(crate) fn lasts_ms(samples: &[i16], tone_hz: f64) -> usize {
    windows(samples, tone_hz).filter(|level| *level > -30.0).count() * 20
}

/// Returns how often a tone begins.
pub(crate) fn bursts(samples: &[i16], tone_hz: f64) -> usize {
    let is_heard: Vec<bool> = windows(samples, tone_hz).map(|level| level > -30.0).collect();
    is_heard.windows(2).filter(|pair| !pair[0] && pair[1]).count()
        + usize::from(is_heard.first() == Some(&true))
}

fn windows(samples: &[i16], tone_hz: f64) -> impl Iterator<Item = f64> {
    samples
        .chunks_exact(WINDOW)
        .map(move |window| tone_dbfs(window, 8000, tone_hz))
}

/// Asserts who hears which steady tone: one row per listener, one entry per tone. Repeated while the machine itself is late.
#[track_caller]
pub(crate) fn assert_hearing(room: &Room, callers: &[&Caller], tones_hz: &[f64], expected: &[&[bool]]) {
    // What was decided before takes its effect first.
    sleep(Duration::from_millis(200));
    in_time(&room.site.server, &room.engine, || {
        let mut wrong = Vec::new();
        for (listener, samples) in heard(callers, 500, || ()).iter().enumerate() {
            for (talker, tone_hz) in tones_hz.iter().enumerate() {
                let level = tone_dbfs(samples, 8000, *tone_hz);
                if (level > -32.0) != expected[listener][talker] {
                    wrong.push(format!("{listener} hears {tone_hz} Hz at {level:.0} dBFS"));
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
}
