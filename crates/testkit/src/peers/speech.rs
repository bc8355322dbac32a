//! Owns artificial speech at telephone rate.

use std::io;
use std::process::Command;

use super::require;
use crate::server::TempDir;
use crate::wav::Wav;

/// Sampling rate of what is returned, in Hz.
const RATE_HZ: u32 = 8000;
/// Half length of the interpolation filter in input samples.
const HALF_TAPS: isize = 24;

/// Lets espeak-ng say `text` with one of its voices (such as `en+m3`) and returns 8 kHz samples.
pub fn speak(voice: &str, text: &str) -> io::Result<Vec<i16>> {
    require("espeak-ng")?;
    let directory = TempDir::new("speech")?;
    let path = directory.path().join("speech.wav");
    let status = Command::new("espeak-ng")
        .args(["-v", voice, "-w"])
        .arg(&path)
        .arg(text)
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("espeak-ng: {status}")));
    }
    let wav = Wav::read(&path)?;
    Ok(resample(&wav.samples, wav.rate_hz, RATE_HZ))
}

/// Lowers the sampling rate by a Hann-windowed sinc that cuts at 45 % of the new rate.
fn resample(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    let step = f64::from(from_hz) / f64::from(to_hz);
    let cutoff = 0.9 * (1.0 / step).min(1.0);
    let count = (samples.len() as f64 / step) as usize;
    let tap = |centre: f64, index: isize| {
        let distance = index as f64 - centre;
        let window = 0.5 + 0.5 * (std::f64::consts::PI * distance / HALF_TAPS as f64).cos();
        let angle = std::f64::consts::PI * cutoff * distance;
        let sinc = if angle.abs() < 1e-9 {
            1.0
        } else {
            angle.sin() / angle
        };
        cutoff * sinc * window
    };
    (0..count)
        .map(|number| {
            let centre = number as f64 * step;
            let middle = centre.round() as isize;
            let sum: f64 = (middle - HALF_TAPS + 1..middle + HALF_TAPS)
                .filter_map(|index| {
                    let sample = samples.get(usize::try_from(index).ok()?)?;
                    Some(f64::from(*sample) * tap(centre, index))
                })
                .sum();
            sum.round().clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter;

    #[test]
    fn resampling_keeps_speech_tones_and_removes_what_would_alias() {
        let low = resample(&meter::sine(1000.0, -10.0, 22_050, 0, 22_050), 22_050, RATE_HZ);
        assert!((meter::tone_dbfs(&low[..8000 - 80], RATE_HZ, 1000.0) + 10.0).abs() < 0.3);
        let high = resample(&meter::sine(6000.0, -10.0, 22_050, 0, 22_050), 22_050, RATE_HZ);
        assert!(meter::rms_dbfs(&high[100..7800]) < -45.0);
    }
}
