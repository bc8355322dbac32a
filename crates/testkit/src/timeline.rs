//! Owns the finding of known sounds in a recording: which were heard, when, and how loud.
//!
//! A sound is looked for in pieces, each where it fits best, so that a recording which lost some of its samples (a machine that stalls
//! makes a jitter buffer drop packets) still shows it: most pieces have to be there, in about the right distances. Never decides what
//! should have been heard.

use crate::meter::dot;

/// Samples that are one in the first, coarse search.
const COARSE: usize = 4;
/// What the coarse search takes for a candidate, and the full one for a find, as a correlation coefficient.
const LIKELY: f32 = 0.6;
const CERTAIN: f64 = 0.9;
/// The share of a sound's pieces that has to be found.
const ENOUGH: f64 = 0.6;
/// How far pieces may have moved against each other, ms.
const SHIFT_MS: usize = 1000;
/// A piece that is softer than the whole sound by this factor of power says nothing.
const FAINT: f64 = 0.02;

/// A sound to look for.
#[derive(Debug, Clone)]
pub struct KnownSound {
    name: String,
    samples: Vec<i16>,
    piece_ms: usize,
}

impl KnownSound {
    /// Returns speech or music, found piece by piece.
    pub fn new(name: &str, samples: Vec<i16>) -> Self {
        Self {
            name: name.to_owned(),
            samples,
            piece_ms: 400,
        }
    }

    /// Returns a sound whose pieces look like each other, such as a tone: found as a whole.
    pub fn whole(name: &str, samples: Vec<i16>) -> Self {
        Self {
            piece_ms: usize::MAX / 1_000_000,
            ..Self::new(name, samples)
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A sound that was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The sound's name.
    pub name: String,
    /// When it begins, by the recording's time, ms.
    pub at_ms: usize,
    /// When the last of what was found of it ends, ms.
    pub until_ms: usize,
    /// Its level against the original, dB.
    pub gain_db: f64,
    /// Which share of its pieces was found.
    pub share: f64,
}

/// A recording that sounds are looked for in.
#[derive(Debug)]
pub struct Recording {
    rate_hz: usize,
    samples: Vec<i16>,
    full: Vec<f32>,
    coarse: Vec<f32>,
}

/// A piece of a sound at the place where it fits.
#[derive(Debug, Clone, Copy)]
struct Found {
    piece: usize,
    /// Where the sound begins by this piece; before the recording, if it lost samples.
    start: i64,
    end: usize,
    correlation: f64,
    gain_db: f64,
}

impl Recording {
    /// Takes a recording at this rate in Hz.
    pub fn new(rate_hz: u32, samples: Vec<i16>) -> Self {
        let full: Vec<f32> = samples.iter().map(|&sample| f32::from(sample)).collect();
        Self {
            rate_hz: rate_hz as usize,
            coarse: thinned(&full),
            full,
            samples,
        }
    }

    /// Returns the samples of a stretch of time, as far as they are there.
    pub fn between(&self, from_ms: usize, to_ms: usize) -> &[i16] {
        let at = |ms: usize| (ms * self.rate_hz / 1000).min(self.samples.len());
        &self.samples[at(from_ms)..at(to_ms.max(from_ms))]
    }

    /// Returns the recording with a stretch of time made silent.
    pub fn without(&self, from_ms: usize, to_ms: usize) -> Self {
        let mut samples = self.samples.clone();
        let at = |ms: usize| (ms * self.rate_hz / 1000).min(samples.len());
        let (from, to) = (at(from_ms), at(to_ms));
        samples[from..to].fill(0);
        Self::new(self.rate_hz as u32, samples)
    }

    /// Returns every time that a sound is heard, in their order.
    pub fn find(&self, sound: &KnownSound) -> Vec<Heard> {
        let all: Vec<f32> = sound.samples.iter().map(|&sample| f32::from(sample)).collect();
        let length = (sound.piece_ms.saturating_mul(self.rate_hz) / 1000).clamp(1, all.len().max(1));
        let power = power(&all) / all.len().max(1) as f64;
        let pieces: Vec<(usize, &[f32])> = all
            .chunks_exact(length)
            .enumerate()
            .map(|(index, piece)| (index * length, piece))
            .filter(|(_, piece)| self::power(piece) / length as f64 > power * FAINT)
            .collect();
        let mut found: Vec<Found> = Vec::new();
        for (number, (at, piece)) in pieces.iter().enumerate() {
            found.extend(
                self.places(piece)
                    .into_iter()
                    .map(|(offset, correlation, gain_db)| Found {
                        piece: number,
                        start: offset as i64 - *at as i64,
                        end: offset + piece.len(),
                        correlation,
                        gain_db,
                    }),
            );
        }
        found.sort_by_key(|found| found.start);
        let shift = (SHIFT_MS * self.rate_hz / 1000) as i64;
        let mut heard = Vec::new();
        while let Some(first) = found.first().copied() {
            let together = found
                .iter()
                .take_while(|found| found.start <= first.start + shift)
                .count();
            let group: Vec<Found> = found.drain(..together).collect();
            heard.extend(self.heard(sound, group, pieces.len()));
        }
        heard
    }

    /// Makes one hearing of pieces that were found close together, the best place of each; `None` when too few are.
    fn heard(&self, sound: &KnownSound, group: Vec<Found>, pieces: usize) -> Option<Heard> {
        let mut best: Vec<Found> = Vec::new();
        for found in group {
            match best.iter_mut().find(|known| known.piece == found.piece) {
                Some(known) if known.correlation < found.correlation => *known = found,
                Some(_) => {}
                None => best.push(found),
            }
        }
        let share = best.len() as f64 / pieces as f64;
        if share < ENOUGH {
            return None;
        }
        let milliseconds = |samples: i64| (samples.max(0) as usize) * 1000 / self.rate_hz;
        let mut gains: Vec<f64> = best.iter().map(|found| found.gain_db).collect();
        gains.sort_by(f64::total_cmp);
        let last = best.iter().map(|found| found.end).max().unwrap_or_default();
        // What was lost on the way moves only later pieces.
        let first = best.iter().min_by_key(|found| found.piece)?;
        let start = first.start;
        Some(Heard {
            name: sound.name.clone(),
            at_ms: milliseconds(start),
            until_ms: milliseconds(last as i64),
            gain_db: gains[gains.len() / 2],
            share,
        })
    }

    /// Returns the places at which a piece fits, half a piece apart at least: offset, correlation, gain in dB.
    fn places(&self, piece: &[f32]) -> Vec<(usize, f64, f64)> {
        let mut likely: Vec<(usize, f32)> = Vec::new();
        // Two phases, or what lies between two samples of the coarse search would be lost.
        for late in [0, COARSE / 2] {
            let thin = thinned(&piece[late.min(piece.len())..]);
            self.likely_places(&thin, |at, correlation| {
                likely.push(((at * COARSE).saturating_sub(late), correlation))
            });
        }
        likely.sort_by(|one, other| other.1.total_cmp(&one.1));
        let mut places: Vec<(usize, f64, f64)> = Vec::new();
        for (about, _) in likely {
            if places
                .iter()
                .all(|place| place.0.abs_diff(about) >= piece.len() / 2)
            {
                places.extend(self.exact(piece, about));
            }
        }
        places
    }

    /// Tells the best places of a thinned piece in the thinned recording.
    fn likely_places(&self, thin: &[f32], mut tell: impl FnMut(usize, f32)) {
        if thin.is_empty() || self.coarse.len() < thin.len() {
            return;
        }
        let own = power(thin);
        let mut window_power = power(&self.coarse[..thin.len()]);
        let mut best: Option<(usize, f32)> = None;
        for (offset, window) in self.coarse.windows(thin.len()).enumerate() {
            let correlation = (dot(thin, window) / (own * window_power.max(1.0)).sqrt()) as f32;
            if let Some((at, value)) = best.take_if(|(at, _)| offset - *at >= thin.len() / 2) {
                tell(at, value);
            }
            if correlation > LIKELY && best.is_none_or(|(_, value)| correlation > value) {
                best = Some((offset, correlation));
            }
            let entering = self.coarse.get(offset + thin.len()).copied().unwrap_or(0.0);
            window_power += f64::from(entering).powi(2) - f64::from(window[0]).powi(2);
        }
        if let Some((at, value)) = best {
            tell(at, value);
        }
    }

    /// Finds the exact place of a piece about a coarse one, if it fits there.
    fn exact(&self, piece: &[f32], about: usize) -> Option<(usize, f64, f64)> {
        let own = power(piece);
        let from = about.saturating_sub(2 * COARSE);
        let to = (about + 2 * COARSE).min(self.full.len().checked_sub(piece.len())?);
        let fits = (from..=to).map(|offset| {
            let window = &self.full[offset..offset + piece.len()];
            let product = dot(piece, window);
            let correlation = product / (own * power(window).max(1.0)).sqrt();
            (offset, correlation, 20.0 * (product.max(1e-9) / own).log10())
        });
        let best = fits.max_by(|one, other| one.1.total_cmp(&other.1))?;
        (best.1 > CERTAIN).then_some(best)
    }
}

/// Returns the means of every few samples.
fn thinned(samples: &[f32]) -> Vec<f32> {
    let mean = |few: &[f32]| few.iter().sum::<f32>() / COARSE as f32;
    samples.chunks_exact(COARSE).map(mean).collect()
}

fn power(samples: &[f32]) -> f64 {
    dot(samples, samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    /// Noise that changes its loudness, as speech does.
    fn sound(seed: u64, milliseconds: usize) -> Vec<i16> {
        let mut random = SeededRandom::new(seed);
        let mut smooth = 0.0f32;
        let samples = (0..milliseconds * 8).map(|at| {
            let noise = (random.next_u32() as i32 >> 17) as f32;
            smooth = 0.8 * smooth + 0.2 * noise;
            let loudness = 0.3 + 0.7 * ((at as f32) / 900.0).sin().abs();
            (smooth * loudness) as i16
        });
        samples.collect()
    }

    fn silence(milliseconds: usize) -> Vec<i16> {
        vec![0; milliseconds * 8]
    }

    #[test]
    fn each_time_a_sound_is_heard_is_found_with_its_level() {
        let (one, two) = (sound(1, 2000), sound(2, 1500));
        let halved: Vec<i16> = one.iter().map(|sample| sample / 2).collect();
        let recorded = [
            silence(700),
            one.clone(),
            silence(300),
            two.clone(),
            silence(900),
            halved,
        ]
        .concat();
        let recording = Recording::new(8000, recorded);
        let heard = recording.find(&KnownSound::new("one", one));
        let (times, gains): (Vec<_>, Vec<_>) = heard.iter().map(|heard| (heard.at_ms, heard.gain_db)).unzip();
        assert_eq!(times, [700, 5400], "{heard:?}");
        assert!(gains[0].abs() < 0.1 && (gains[1] + 6.0).abs() < 0.1, "{heard:?}");
        assert_eq!(heard[0].until_ms, 2700);
        let heard = recording.find(&KnownSound::whole("two", two));
        assert_eq!((heard.len(), heard[0].at_ms), (1, 3000), "{heard:?}");
        let other = recording.find(&KnownSound::new("other", sound(3, 2000)));
        assert!(other.is_empty(), "{other:?}");
    }

    #[test]
    fn a_sound_that_lost_some_samples_is_found_and_half_a_sound_is_not() {
        let one = sound(1, 3000);
        let torn = [&one[..9600], &one[14_000..]].concat();
        let recording = Recording::new(8000, [silence(500), torn, silence(500)].concat());
        let heard = recording.find(&KnownSound::new("one", one.clone()));
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(
            heard[0].at_ms.abs_diff(500) < 5 && heard[0].share < 1.0,
            "{heard:?}"
        );
        let half = [silence(500), one[..11_000].to_vec(), silence(3000)].concat();
        let recording = Recording::new(8000, half);
        assert!(recording.find(&KnownSound::new("one", one.clone())).is_empty());
        let gone =
            Recording::new(8000, [silence(500), one.clone(), silence(500)].concat()).without(400, 3600);
        assert!(gone.find(&KnownSound::new("one", one)).is_empty());
    }
}
