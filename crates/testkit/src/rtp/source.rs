//! Owns what a stream sends: payloads prepared beforehand, so that sending costs a copy.

use std::sync::{Arc, Mutex, PoisonError};

use crate::codec::{Codec, Decoder, Encoder, OpusEncoding};
use crate::meter;

/// Seconds after which a tone of whole hertz repeats: a multiple of every packet time of whole 10 ms up to 60 ms.
const TONE_SECONDS: u32 = 3;
/// Milliseconds of prepared silence, a multiple of the same.
const SILENCE_MS: u32 = 600;

/// Audio of one stream. Cloning shares the prepared bytes.
#[derive(Debug, Clone)]
pub struct Source {
    codec: Codec,
    audio: Audio,
    repeats: bool,
    /// The packets that were asked for last, and their time in ms: a crowd sends the same.
    prepared: Arc<Mutex<Option<(u32, Packets)>>>,
}

#[derive(Debug, Clone)]
enum Audio {
    /// Coded sample by sample: packets of any size are cut from it.
    Octets(Arc<[u8]>),
    /// Coded when the packet time is known.
    Samples(Arc<[i16]>, OpusEncoding),
}

impl Source {
    /// Sends `samples` at the codec's rate once, or over and over; what does not fill a last packet is left out.
    pub fn samples(codec: impl Into<Codec>, samples: &[i16], repeats: bool) -> Self {
        let codec = codec.into();
        let audio = match codec.encode_stateless(samples) {
            Some(octets) => Audio::Octets(octets.into()),
            None => Audio::Samples(samples.into(), OpusEncoding::default()),
        };
        Self {
            codec,
            audio,
            repeats,
            prepared: Arc::default(),
        }
    }

    /// Encodes like this where the codec is Opus.
    #[must_use]
    pub fn opus(mut self, encoding: OpusEncoding) -> Self {
        if let Audio::Samples(_, own) = &mut self.audio {
            *own = encoding;
            self.prepared = Arc::default();
        }
        self
    }

    /// Sends an endless tone of `level_dbfs`. Whole hertz repeat every three seconds without a seam; other frequencies repeat every ten
    /// seconds, without a seam for multiples of 0.1 Hz at packet times of 10, 20, 40 and 50 ms.
    pub fn tone(codec: impl Into<Codec>, frequency_hz: f64, level_dbfs: f64) -> Self {
        let codec = codec.into();
        let seconds = if frequency_hz.fract() == 0.0 {
            TONE_SECONDS
        } else {
            10
        };
        let rate_hz = codec.rate_hz();
        let samples = meter::sine(frequency_hz, level_dbfs, rate_hz, 0, (seconds * rate_hz) as usize);
        Self::samples(codec, &samples, true)
    }

    /// Sends keys as tones, once: each of 100 ms at `level_dbfs` per frequency with 100 ms behind it, after half a second of
    /// silence. What is no key is silence too.
    pub fn keys(codec: impl Into<Codec>, keys: &str, level_dbfs: f64) -> Self {
        const ROWS: [(&str, f64); 4] = [("123A", 697.0), ("456B", 770.0), ("789C", 852.0), ("*0#D", 941.0)];
        const COLUMNS: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
        let codec = codec.into();
        let rate_hz = codec.rate_hz();
        let length = codec.samples_in(100);
        let mut samples = vec![0; codec.samples_in(500)];
        for key in keys.chars() {
            let row = ROWS.iter().find_map(|(row, hz)| Some((row.find(key)?, *hz)));
            let tone = |hz| meter::sine(hz, level_dbfs, rate_hz, 0, length);
            match row {
                Some((column, hz)) => {
                    let sum = tone(hz).into_iter().zip(tone(COLUMNS[column]));
                    samples.extend(sum.map(|(low, high)| low.saturating_add(high)));
                }
                None => samples.resize(samples.len() + length, 0),
            }
            samples.resize(samples.len() + length, 0);
        }
        samples.resize(samples.len() + codec.samples_in(1000), 0);
        Self::samples(codec, &samples, false)
    }

    /// Sends digital silence without end.
    pub fn silence(codec: impl Into<Codec>) -> Self {
        let codec = codec.into();
        Self::samples(codec, &vec![0; codec.samples_in(SILENCE_MS)], true)
    }

    /// Returns the codec of the payload.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Returns the samples that a perfect receiver decodes from one pass through this source, in packets of 20 ms.
    pub fn decoded(&self) -> Vec<i16> {
        let mut decoder = Decoder::new(self.codec);
        let mut samples = Vec::new();
        match &self.audio {
            Audio::Octets(octets) => decoder.decode_into(octets, &mut samples),
            Audio::Samples(..) => {
                let once = Self {
                    repeats: false,
                    prepared: Arc::default(),
                    ..self.clone()
                };
                let packets = once.packets(20);
                (0..)
                    .map_while(|number| packets.get(number))
                    .for_each(|payload| decoder.decode_into(payload, &mut samples));
            }
        }
        samples
    }

    /// Returns the payloads for packets of `ptime_ms`. Takes its time for codecs with a memory, the first time.
    pub fn packets(&self, ptime_ms: u32) -> Packets {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        match &*prepared {
            Some((known_ms, packets)) if *known_ms == ptime_ms => packets.clone(),
            _ => {
                let packets = self.prepare(ptime_ms);
                *prepared = Some((ptime_ms, packets.clone()));
                packets
            }
        }
    }

    fn prepare(&self, ptime_ms: u32) -> Packets {
        let size = self.codec.samples_in(ptime_ms);
        let content = match &self.audio {
            Audio::Octets(octets) => {
                let octets_per_sample = if matches!(self.codec, Codec::L16(_)) { 2 } else { 1 };
                Content::Even(Arc::clone(octets), size * octets_per_sample)
            }
            Audio::Samples(samples, opus) => {
                let mut encoder = Encoder::new(self.codec, ptime_ms, *opus);
                let mut pass = || -> Vec<Vec<u8>> {
                    samples
                        .chunks_exact(size.max(1))
                        .map(|packet| encoder.encode(packet))
                        .collect()
                };
                let mut packets = pass();
                if self.repeats {
                    // What repeats begins in the state that its end leaves behind.
                    packets = pass();
                }
                Content::Listed(packets.into())
            }
        };
        Packets {
            content,
            repeats: self.repeats,
        }
    }
}

/// The payloads of a source for one packet time.
#[derive(Debug, Clone)]
pub struct Packets {
    content: Content,
    repeats: bool,
}

#[derive(Debug, Clone)]
enum Content {
    /// All of this many octets.
    Even(Arc<[u8]>, usize),
    Listed(Arc<[Vec<u8>]>),
}

impl Packets {
    /// Returns the payload of one packet, counted from 0, or `None` when the source has ended.
    pub fn get(&self, number: u64) -> Option<&[u8]> {
        let count = match &self.content {
            Content::Even(octets, size) => octets.len() / (*size).max(1),
            Content::Listed(packets) => packets.len(),
        } as u64;
        if count == 0 || (number >= count && !self.repeats) {
            return None;
        }
        let number = (number % count) as usize;
        match &self.content {
            Content::Even(octets, size) => octets.get(number * size..(number + 1) * size),
            Content::Listed(packets) => packets.get(number).map(Vec::as_slice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711::Law;

    #[test]
    fn a_tone_has_no_seam_where_it_repeats() {
        for hz in [440.0, 1003.7] {
            let source = Source::tone(Law::Mu, hz, -20.0);
            let once = source.decoded();
            let joined: Vec<i16> = once.iter().chain(&once).copied().collect();
            let long = meter::sine(hz, -20.0, 8000, 0, joined.len());
            let exact: Vec<i16> = long.iter().map(|s| Law::Mu.decode(Law::Mu.encode(*s))).collect();
            // Rounding may differ by one step where a sample lies between two code words.
            let differing = joined.iter().zip(&exact).filter(|(a, b)| a != b).count();
            assert!(differing < joined.len() / 1000, "{hz} Hz: {differing}");
        }
    }

    #[test]
    fn a_tone_of_a_codec_with_memory_goes_on_where_it_repeats() {
        for codec in [Codec::G722, Codec::Opus] {
            for ptime_ms in [20, 30] {
                let packets = Source::tone(codec, 1000.0, -20.0).packets(ptime_ms);
                let mut decoder = Decoder::new(codec);
                let mut heard = Vec::new();
                for number in 0..u64::from(2 * TONE_SECONDS * 1000 / ptime_ms) {
                    let payload = packets.get(number).expect("it never ends");
                    decoder.decode_into(payload, &mut heard);
                }
                // Half a second around the seam holds nothing but the tone.
                let rate = codec.rate_hz() as usize;
                let seam = &heard[rate * 11 / 4..rate * 13 / 4];
                let (tone, all) = (
                    meter::tone_dbfs(seam, codec.rate_hz(), 1000.0),
                    meter::rms_dbfs(seam),
                );
                assert!((tone + 20.0).abs() < 0.2, "{codec:?} {ptime_ms} ms: {tone}");
                assert!(
                    all - tone < 0.2,
                    "{codec:?} {ptime_ms} ms: {all} in all, {tone} the tone"
                );
            }
        }
    }

    #[test]
    fn a_source_that_does_not_repeat_ends() {
        for codec in [Codec::Pcma, Codec::Opus, Codec::L16(16_000)] {
            let samples = vec![1000; codec.samples_in(50)];
            let packets = Source::samples(codec, &samples, false).packets(20);
            assert!(packets.get(0).is_some() && packets.get(1).is_some());
            assert!(packets.get(2).is_none());
            let empty = Source::samples(codec, &[], true).packets(20);
            assert!(empty.get(0).is_none());
        }
    }
}
