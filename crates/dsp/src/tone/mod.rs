//! Tones by description: the tone language of `tone_stream://`, `silence_stream://`, and digits. Owns neither files nor
//! prompts; what a conference plays when is decided elsewhere.
//!
//! # The language
//! Statements are separated by `;`, blanks are ignored, settings hold for all later tones.
//!
//! | Statement | Meaning |
//! |---|---|
//! | `%(on,off,f1,f2,…)` | `on` ms of the sum of up to 18 sines (Hz), divided by their number, then `off` ms of silence |
//! | `0`-`9` `A`-`D` `*` `#` | the two frequencies of the key, for `d` and `w` |
//! | `5(on,off)` | the same with its own times |
//! | `v=dB` | level of each sine, −63..=0 dBm0, at first −7; a full-scale sine is 3.14 dBm0 (ITU-T G.711) |
//! | `d=ms`, `w=ms` | how long symbols sound (250) and are silent after it (62.5) |
//! | `>=ms`, `<=ms` | while a tone sounds, its level falls or rises by one step each so many ms; 0 for not at all |
//! | `+=dB` | that step (1) |
//! | `l=n` | the next tone comes n times, for ever when n is negative |
//! | `L=n` | the whole script comes n times, with the settings that the end has left; for ever, from its beginning, when n is negative |
//! | `r=Hz`, `c=n` | accepted; rate and channels are those of the mix |
//! | `loops=n` | at the end only: everything n times from the very beginning, for ever when n is negative |
//!
//! `silence_stream://ms,noise` is silence for so long, for ever when 0 or less, with comfort noise of that level if given.
//!
//! Known from FreeSWITCH's tone generation. Differences: characters without meaning are errors, tones begin and end with
//! 1 ms of fade, there is no constant offset, and `r=` has no effect on durations.

mod fuzz;
mod generator;
mod parse;

use std::time::Duration;

pub use fuzz::fuzz_tone_grammar;
pub use generator::{ToneGenerator, TonePlace};
pub use parse::{MAX_TONE_TEXT, ToneError, ToneProblem};

use crate::{DtmfSymbol, NoiseLevel};

/// Sines in one tone, at most.
pub const MAX_TONE_FREQUENCIES: usize = 18;

/// Levels that `v` can take and ramps can reach, in dBm0.
const LEVELS_DBM0: std::ops::RangeInclusive<f32> = -63.0..=0.0;

/// What is to be heard, understood and checked.
///
/// ```
/// use confab_dsp::{ToneGenerator, ToneScript};
///
/// let script = ToneScript::parse("tone_stream://v=-10;%(200,100,440,480);loops=2").expect("a valid script");
/// let mut generator = ToneGenerator::new(script, 8000);
/// let (mut block, mut samples) = ([0; 160], 0);
/// while generator.fill(&mut block) == block.len() {
///     samples += block.len();
/// }
/// assert_eq!(samples, 4800); // 2 × (200 + 100) ms
///
/// let problem = ToneScript::parse("tone_stream://%(200,100)").expect_err("no frequency");
/// assert_eq!(problem.offset, 23);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ToneScript {
    content: Content,
    /// How often all of it is heard.
    loops: Times,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
    Silence {
        /// `None` for ever.
        lasts: Option<Duration>,
        noise: Option<NoiseLevel>,
    },
    Tones {
        steps: Box<[Step]>,
        /// How often the steps are gone through, settings kept.
        passes: u32,
    },
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Level(f32),
    SymbolOn(Duration),
    SymbolOff(Duration),
    Ramp(Ramp),
    RampDb(f32),
    Repeat(Times),
    Tone(Tone),
}

/// How often something is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    /// At least 1.
    Count(u32),
    Forever,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ramp {
    Flat,
    Falling { every: Duration },
    Rising { every: Duration },
}

#[derive(Debug, Clone, PartialEq)]
struct Tone {
    /// Own times, or those of symbols.
    times: Option<(Duration, Duration)>,
    frequencies_hz: Box<[f32]>,
}

impl ToneScript {
    /// Returns whether a sound's name means a tone script: it begins with `tone_stream://`, `silence_stream://` or `%(`.
    pub fn is_script(name: &str) -> bool {
        parse::PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name.starts_with("%(")
    }

    /// Reads a script with or without its `tone_stream://`, or a `silence_stream://`.
    ///
    /// Takes time in proportion to the text, which may have [`MAX_TONE_TEXT`] octets.
    ///
    /// # Errors
    /// [`ToneError`] tells what was not understood and where.
    pub fn parse(text: &str) -> Result<ToneScript, ToneError> {
        parse::script(text)
    }

    /// Returns the script of symbols one after the other, each sounding for `on` with `off` of silence behind it, each of
    /// its two sines at `level_dbm0` (−63..=0).
    pub fn digits(
        symbols: impl IntoIterator<Item = DtmfSymbol>,
        on: Duration,
        off: Duration,
        level_dbm0: f32,
    ) -> ToneScript {
        // The generator divides by the number of sines, so both are raised by that factor first.
        let level = level_dbm0 + 20.0 * 2f32.log10();
        let tones = symbols.into_iter().map(|symbol| {
            Step::Tone(Tone {
                times: Some((on, off)),
                frequencies_hz: symbol.frequencies_hz().into(),
            })
        });
        ToneScript {
            content: Content::Tones {
                steps: std::iter::once(Step::Level(level)).chain(tones).collect(),
                passes: 1,
            },
            loops: Times::Count(1),
        }
    }

    /// Returns the script of silence, for ever when `lasts` is `None`, with comfort noise if given.
    pub fn silence(lasts: Option<Duration>, noise: Option<NoiseLevel>) -> ToneScript {
        ToneScript {
            content: Content::Silence { lasts, noise },
            loops: Times::Count(1),
        }
    }

    /// Returns how long the script is, `None` if it never ends (or lasts longer than a [`Duration`] can say).
    pub fn duration(&self) -> Option<Duration> {
        let once = match &self.content {
            Content::Silence { lasts, .. } => (*lasts)?,
            Content::Tones { steps, passes } => tones_duration(steps, *passes)?,
        };
        match self.loops {
            Times::Count(count) => once.checked_mul(count),
            Times::Forever => once.is_zero().then_some(once),
        }
    }
}

/// What the `d` and `w` of symbols are without a statement.
const SYMBOL_ON: Duration = Duration::from_millis(250);
const SYMBOL_OFF: Duration = Duration::from_micros(62_500);

/// Adds up the passes until one begins with the settings that the one before began with: from there on they are equal.
fn tones_duration(steps: &[Step], passes: u32) -> Option<Duration> {
    let (mut on, mut off) = (SYMBOL_ON, SYMBOL_OFF);
    let mut repeat = Times::Count(1);
    let mut total = Duration::ZERO;
    let mut pass = 0;
    while pass < passes {
        let before = (on, off, repeat);
        let mut length = Duration::ZERO;
        for step in steps {
            match step {
                Step::SymbolOn(duration) => on = *duration,
                Step::SymbolOff(duration) => off = *duration,
                Step::Repeat(times) => repeat = *times,
                Step::Tone(tone) => {
                    let (on, off) = tone.times.unwrap_or((on, off));
                    let once = on + off;
                    if once.is_zero() {
                        continue;
                    }
                    match std::mem::replace(&mut repeat, Times::Count(1)) {
                        Times::Count(count) => length = length.checked_add(once.checked_mul(count)?)?,
                        Times::Forever => return None,
                    }
                }
                Step::Level(_) | Step::Ramp(_) | Step::RampDb(_) => {}
            }
        }
        let same = if before == (on, off, repeat) {
            passes - pass
        } else {
            1
        };
        total = total.checked_add(length.checked_mul(same)?)?;
        pass += same;
    }
    Some(total)
}
