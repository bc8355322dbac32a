//! Prints the digits heard in raw samples from standard input (16 bits, little-endian, mono, 8 kHz): how the rate of
//! false digits in real speech is measured, see `bench/talkoff`.

use std::io::{Read, Write};

use confab_dsp::{DtmfDetector, DtmfSound};

fn main() -> std::io::Result<()> {
    let (mut input, mut out) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut detector = DtmfDetector::new(8000);
    let (mut octets, mut frame) = ([0; 320], [0; 160]);
    let (mut samples, mut digits) = (0u64, 0);
    while input.read_exact(&mut octets).is_ok() {
        for (sample, pair) in frame.iter_mut().zip(octets.as_chunks().0) {
            *sample = i16::from_le_bytes(*pair);
        }
        samples += frame.len() as u64;
        let mut began = None;
        detector.process(&frame, |sound| {
            if let DtmfSound::Began(symbol) = sound {
                began = Some(symbol);
            }
        });
        if let Some(symbol) = began {
            digits += 1;
            writeln!(out, "{symbol} at {:.2} s", samples as f64 / 8000.0)?;
        }
    }
    writeln!(
        out,
        "{digits} digits in {:.1} minutes",
        samples as f64 / 480_000.0
    )
}
