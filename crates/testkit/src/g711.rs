//! Owns the test side's own G.711: µ-law and A-law between bytes and 16-bit samples, computed from the ITU-T G.711 segment rules.
//!
//! Shares nothing with the server's codec, so that a mistake there cannot hide by being made twice.

/// Which of the two G.711 laws a stream uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law, RTP payload type 0 (PCMU).
    Mu,
    /// A-law, RTP payload type 8 (PCMA).
    A,
}

impl Law {
    /// Returns the static RTP payload type (RFC 3551 §6).
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// Returns the encoding name of the `rtpmap` attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    /// Returns the byte that codes `sample` nearest.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// Returns the sample that `byte` stands for.
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => decode_mu(byte),
            Self::A => decode_a(byte),
        }
    }

    /// Encodes a whole block.
    pub fn encode_block(self, samples: &[i16]) -> Vec<u8> {
        samples.iter().map(|sample| self.encode(*sample)).collect()
    }

    /// Appends the samples of `payload` to `out`.
    pub fn decode_into(self, payload: &[u8], out: &mut Vec<i16>) {
        out.extend(payload.iter().map(|byte| self.decode(*byte)));
    }
}

/// µ-law works on a 14-bit magnitude with a bias of 33 (132 at 16 bits) in eight segments of 16 steps.
const MU_BIAS: i32 = 132;
const MU_CLIP: i32 = 32_635;

fn encode_mu(sample: i16) -> u8 {
    let negative = sample < 0;
    let magnitude = i32::from(sample).abs().min(MU_CLIP) + MU_BIAS;
    // The bias makes bit 7 the lowest possible leading bit, so the segment is the leading bit's distance from it.
    let segment = 24 - magnitude.leading_zeros() as i32;
    let step = (magnitude >> (segment + 3)) & 0x0F;
    let code = (u8::from(negative) << 7) | ((segment as u8) << 4) | step as u8;
    !code
}

fn decode_mu(byte: u8) -> i16 {
    let code = !byte;
    let segment = i32::from((code >> 4) & 0x07);
    let step = i32::from(code & 0x0F);
    let magnitude = (((step << 3) + MU_BIAS) << segment) - MU_BIAS;
    (if code & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

fn encode_a(sample: i16) -> u8 {
    // A-law has no zero: negative values use the one's complement, so that -1 mirrors 0.
    let negative = sample < 0;
    let magnitude = i32::from(if negative { !sample } else { sample });
    let code = if magnitude < 256 {
        (magnitude >> 4) as u8
    } else {
        let segment = 24 - magnitude.leading_zeros() as i32;
        let step = (magnitude >> (segment + 3)) & 0x0F;
        ((segment as u8) << 4) | step as u8
    };
    (code | if negative { 0 } else { 0x80 }) ^ 0x55
}

fn decode_a(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let segment = i32::from((code >> 4) & 0x07);
    let step = i32::from(code & 0x0F);
    let magnitude = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_code_words_decode_to_their_values() {
        // ITU-T G.711 tables 2a/2b (µ) and 1a/1b (A): ends and zero of each half, scaled to 16 bits.
        for (byte, value) in [
            (0xFF, 0),
            (0x7F, 0),
            (0x80, 32_124),
            (0x00, -32_124),
            (0xFE, 8),
            (0x7E, -8),
        ] {
            assert_eq!(Law::Mu.decode(byte), value, "µ-law {byte:#04x}");
        }
        for (byte, value) in [
            (0xD5, 8),
            (0x55, -8),
            (0xAA, 32_256),
            (0x2A, -32_256),
            (0x80, 5_504),
        ] {
            assert_eq!(Law::A.decode(byte), value, "A-law {byte:#04x}");
        }
    }

    #[test]
    fn every_code_word_survives_decoding_and_encoding() {
        for byte in 0..=255u8 {
            // 0x7F is negative zero in µ-law; it comes back as positive zero, the same sample.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(
                Law::Mu.encode(Law::Mu.decode(byte)),
                expected,
                "µ-law {byte:#04x}"
            );
            assert_eq!(Law::A.encode(Law::A.decode(byte)), byte, "A-law {byte:#04x}");
        }
    }

    #[test]
    fn encoding_is_monotonic_and_picks_a_near_value() {
        for law in [Law::Mu, Law::A] {
            let mut previous = i32::MIN;
            for sample in i16::MIN..=i16::MAX {
                let decoded = i32::from(law.decode(law.encode(sample)));
                assert!(decoded >= previous, "{law:?} at {sample}");
                previous = decoded;
                let error = (decoded - i32::from(sample)).abs();
                assert!(
                    error <= 8 + i32::from(sample).abs() / 28,
                    "{law:?} {sample} → {decoded}"
                );
            }
        }
    }
}
