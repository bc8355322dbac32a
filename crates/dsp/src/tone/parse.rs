//! Reads the tone language. Bounded by the length of the text; never makes a sound.

use std::fmt;
use std::time::Duration;

use super::{Content, LEVELS_DBM0, MAX_TONE_FREQUENCIES, Ramp, Step, Times, Tone, ToneScript};
use crate::{DtmfSymbol, NoiseLevel};

/// Length of a script's text in octets, at most.
pub const MAX_TONE_TEXT: usize = 4096;

const TONES: &str = "tone_stream://";
const SILENCE: &str = "silence_stream://";
pub(super) const PREFIXES: [&str; 2] = [TONES, SILENCE];

/// Longest time that one number may name: an hour.
const MAX_MILLISECONDS: f64 = 3_600_000.0;

/// Highest frequency that may be written, in Hz. What a mix is too slow for is not heard.
const MAX_FREQUENCY_HZ: f64 = 24_000.0;

/// What of a script was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToneError {
    /// Octets before the place of the problem.
    pub offset: usize,
    /// What is wrong there.
    pub problem: ToneProblem,
}

/// Why a script cannot be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToneProblem {
    /// The text has more than [`MAX_TONE_TEXT`] octets.
    TooLong,
    /// There is neither a tone nor a symbol in it.
    Empty,
    /// A number is missing or is none.
    NotANumber,
    /// A number is outside of what it may be.
    OutOfRange,
    /// A character is no symbol of the language.
    UnknownSymbol,
    /// The parenthesis is not closed, or holds too little or too much.
    BadParenthesis,
    /// There are more than 18 frequencies.
    TooManyFrequencies,
    /// Something follows where the statement should end.
    UnexpectedText,
    /// `loops` stands before the end.
    LoopsNotLast,
}

impl fmt::Display for ToneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            ToneProblem::TooLong => "is too long",
            ToneProblem::Empty => "has no tone",
            ToneProblem::NotANumber => "needs a number",
            ToneProblem::OutOfRange => "has a number out of range",
            ToneProblem::UnknownSymbol => "has an unknown symbol",
            ToneProblem::BadParenthesis => "has a parenthesis with too little, too much or no end",
            ToneProblem::TooManyFrequencies => "has too many frequencies",
            ToneProblem::UnexpectedText => "has something left over",
            ToneProblem::LoopsNotLast => "has loops before the end",
        };
        write!(f, "the tone script {problem} at offset {}", self.offset)
    }
}

impl std::error::Error for ToneError {}

type Parsed<T> = Result<T, ToneError>;

pub(super) fn script(text: &str) -> Parsed<ToneScript> {
    if text.len() > MAX_TONE_TEXT {
        return Err(ToneError {
            offset: text.floor_char_boundary(MAX_TONE_TEXT),
            problem: ToneProblem::TooLong,
        });
    }
    let mut cursor = Cursor { text, at: 0 };
    if cursor.takes(SILENCE) {
        return silence(cursor);
    }
    cursor.takes(TONES);
    tones(cursor)
}

fn silence(mut cursor: Cursor<'_>) -> Parsed<ToneScript> {
    let milliseconds = cursor.number(-f64::MAX, MAX_MILLISECONDS)?;
    let noise = if cursor.takes(",") {
        NoiseLevel::from_profile(cursor.number(0.0, 10_000.0)? as u16)
    } else {
        None
    };
    let mut loops = Times::Count(1);
    if cursor.takes(";") && cursor.takes("loops=") {
        loops = cursor.times()?;
    }
    cursor.end(ToneProblem::UnexpectedText)?;
    Ok(ToneScript {
        content: Content::Silence {
            lasts: (milliseconds > 0.0).then(|| duration(milliseconds)),
            noise,
        },
        loops,
    })
}

fn tones(mut cursor: Cursor<'_>) -> Parsed<ToneScript> {
    let mut steps = Vec::new();
    let mut passes = None;
    let mut loops = Times::Count(1);
    while let Some(next) = cursor.peek() {
        if cursor.takes(";") {
            continue;
        }
        if cursor.takes("loops=") {
            loops = cursor.times()?;
            while cursor.takes(";") {}
            cursor.end(ToneProblem::LoopsNotLast)?;
        } else if cursor.after(next) == Some('=') {
            let setting = cursor.setting(next)?;
            match setting {
                Setting::Step(step) => steps.push(step),
                // Only the first counts, or the script would never end.
                Setting::Passes(times) => passes = passes.or(Some(times)),
                Setting::Nothing => {}
            }
            if cursor.peek().is_some_and(|following| following != ';') {
                return Err(cursor.error(ToneProblem::UnexpectedText));
            }
        } else {
            steps.push(Step::Tone(cursor.tone(next)?));
        }
    }
    if !steps.iter().any(|step| matches!(step, Step::Tone(_))) {
        return Err(cursor.error(ToneProblem::Empty));
    }
    let (passes, loops) = match passes {
        None => (1, loops),
        Some(Times::Count(count)) => (count, loops),
        Some(Times::Forever) => (1, Times::Forever),
    };
    Ok(ToneScript {
        content: Content::Tones {
            steps: steps.into(),
            passes,
        },
        loops,
    })
}

/// Whole milliseconds; decimals are cut off.
fn duration(milliseconds: f64) -> Duration {
    Duration::from_millis(milliseconds as u64)
}

/// What a statement with `=` means.
enum Setting {
    Step(Step),
    Passes(Times),
    Nothing,
}

/// A place in the text. Everything it reads skips blanks first.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, problem: ToneProblem) -> ToneError {
        ToneError {
            offset: self.at,
            problem,
        }
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Returns the next character without going on.
    fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    /// Returns what follows the next character, blanks between them skipped.
    fn after(&self, next: char) -> Option<char> {
        self.rest()[next.len_utf8()..].trim_start().chars().next()
    }

    fn takes(&mut self, wanted: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn end(&mut self, otherwise: ToneProblem) -> Parsed<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error(otherwise)),
        }
    }

    /// Reads a number, which may have a sign and decimals.
    fn number(&mut self, least: f64, most: f64) -> Parsed<f64> {
        self.skip_blanks();
        let rest = self.rest();
        let is_part = |(place, c): (usize, char)| {
            c.is_ascii_digit() || c == '.' || (place == 0 && matches!(c, '+' | '-'))
        };
        let length = rest.char_indices().take_while(|&part| is_part(part)).count();
        let number: f64 = rest[..length]
            .parse()
            .map_err(|_| self.error(ToneProblem::NotANumber))?;
        if !(least..=most).contains(&number) {
            return Err(self.error(ToneProblem::OutOfRange));
        }
        self.at += length;
        Ok(number)
    }

    fn milliseconds(&mut self) -> Parsed<Duration> {
        Ok(duration(self.number(0.0, MAX_MILLISECONDS)?))
    }

    /// Reads how often: negative is for ever, and 0 is once like 1.
    fn times(&mut self) -> Parsed<Times> {
        let number = self.number(f64::from(i32::MIN), f64::from(i32::MAX))?;
        Ok(if number < 0.0 {
            Times::Forever
        } else {
            Times::Count((number as u32).max(1))
        })
    }

    /// Reads a statement with `=`, of which `name` is the first character.
    fn setting(&mut self, name: char) -> Parsed<Setting> {
        let unknown = self.error(ToneProblem::UnknownSymbol);
        self.at += name.len_utf8();
        self.takes("=");
        let every = |every: Duration, ramp: fn(Duration) -> Ramp| {
            Setting::Step(Step::Ramp(if every.is_zero() { Ramp::Flat } else { ramp(every) }))
        };
        Ok(match name {
            'v' => {
                let level = self.number(-1e6, 1e6)? as f32;
                // A level that does not exist leaves the one before.
                if LEVELS_DBM0.contains(&level) {
                    Setting::Step(Step::Level(level))
                } else {
                    Setting::Nothing
                }
            }
            'd' => Setting::Step(Step::SymbolOn(self.milliseconds()?)),
            'w' => Setting::Step(Step::SymbolOff(self.milliseconds()?)),
            '>' => every(self.milliseconds()?, |every| Ramp::Falling { every }),
            '<' => every(self.milliseconds()?, |every| Ramp::Rising { every }),
            '+' => Setting::Step(Step::RampDb(self.number(0.0, 63.0)? as f32)),
            'l' => Setting::Step(Step::Repeat(self.times()?)),
            'L' => Setting::Passes(self.times()?),
            'r' | 'c' => {
                self.number(0.0, 1e6)?;
                Setting::Nothing
            }
            _ => return Err(unknown),
        })
    }

    /// Reads `%(…)`, a symbol or a symbol with its times, beginning with `name`.
    fn tone(&mut self, name: char) -> Parsed<Tone> {
        let unknown = self.error(ToneProblem::UnknownSymbol);
        let symbol = DtmfSymbol::from_char(name);
        if symbol.is_none() && name != '%' {
            return Err(unknown);
        }
        self.at += name.len_utf8();
        let opened = self.takes("(");
        match symbol {
            None if !opened => Err(self.error(ToneProblem::BadParenthesis)),
            None => {
                let times = self.on_and_off()?;
                let frequencies_hz = self.frequencies()?;
                Ok(Tone {
                    times: Some(times),
                    frequencies_hz,
                })
            }
            Some(symbol) => {
                let times = opened.then(|| self.on_and_off()).transpose()?;
                if opened && !self.takes(")") {
                    return Err(self.error(ToneProblem::BadParenthesis));
                }
                Ok(Tone {
                    times,
                    frequencies_hz: symbol.frequencies_hz().into(),
                })
            }
        }
    }

    fn on_and_off(&mut self) -> Parsed<(Duration, Duration)> {
        let on = self.milliseconds()?;
        if !self.takes(",") {
            return Err(self.error(ToneProblem::BadParenthesis));
        }
        Ok((on, self.milliseconds()?))
    }

    /// Reads the frequencies up to the closing parenthesis. 0 Hz is silence.
    fn frequencies(&mut self) -> Parsed<Box<[f32]>> {
        let mut frequencies = Vec::new();
        while self.takes(",") {
            if frequencies.len() == MAX_TONE_FREQUENCIES {
                return Err(self.error(ToneProblem::TooManyFrequencies));
            }
            frequencies.push(self.number(0.0, MAX_FREQUENCY_HZ)? as f32);
        }
        if frequencies.is_empty() || !self.takes(")") {
            return Err(self.error(ToneProblem::BadParenthesis));
        }
        frequencies.retain(|&frequency| frequency > 0.0);
        Ok(frequencies.into())
    }
}
