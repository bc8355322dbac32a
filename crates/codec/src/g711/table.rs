//! The two companding laws of ITU-T G.711 as tables made at compile time. Owns the arithmetic and nothing else.
//!
//! Samples are 16-bit: G.711's 14-bit (µ) and 13-bit (A) values shifted up. A negative sample's magnitude is its one's
//! complement, which is how the reference implementation (ITU-T G.191) folds it; the two's complement would differ in
//! rounding for a few inputs next to decision values.

/// The companding law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law, North America and Japan.
    Mu,
    /// A-law, everywhere else.
    A,
}

impl Law {
    /// Decodes one octet per sample; the shorter of the two slices decides how many.
    pub fn decode(self, payload: &[u8], out: &mut [i16]) {
        let table = match self {
            Self::Mu => &MU_DECODE,
            Self::A => &A_DECODE,
        };
        for (sample, &octet) in out.iter_mut().zip(payload) {
            *sample = table[usize::from(octet)];
        }
    }

    /// Encodes one sample per octet; the shorter of the two slices decides how many. Returns that number.
    pub fn encode(self, pcm: &[i16], out: &mut [u8]) -> usize {
        let table = match self {
            Self::Mu => &MU_ENCODE,
            Self::A => &A_ENCODE,
        };
        for (octet, &sample) in out.iter_mut().zip(pcm) {
            *octet = table[usize::from(sample.cast_unsigned())];
        }
        pcm.len().min(out.len())
    }

    /// The octet that decodes to the smallest positive value: digital silence.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }
}

static MU_DECODE: [i16; 256] = decode_table(Law::Mu);
static A_DECODE: [i16; 256] = decode_table(Law::A);
static MU_ENCODE: [u8; 65_536] = encode_table(Law::Mu);
static A_ENCODE: [u8; 65_536] = encode_table(Law::A);

const fn decode_table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match law {
            Law::Mu => mu_expand(octet as u8),
            Law::A => a_expand(octet as u8),
        };
        octet += 1;
    }
    table
}

const fn encode_table(law: Law) -> [u8; 65_536] {
    let mut table = [0; 65_536];
    let mut bits = 0;
    while bits < 65_536 {
        let sample = (bits as u16).cast_signed();
        table[bits] = match law {
            Law::Mu => mu_compress(sample),
            Law::A => a_compress(sample),
        };
        bits += 1;
    }
    table
}

/// Offset added to a µ-law magnitude so that its segments start at powers of two, in 14-bit units.
const MU_BIAS: i32 = 33;

const fn mu_expand(octet: u8) -> i16 {
    let code = !octet;
    let segment = (code >> 4) & 7;
    let step = (code & 0x0f) as i32;
    let magnitude = (((step << 1) + MU_BIAS) << segment) - MU_BIAS;
    let value = (magnitude << 2) as i16;
    if code & 0x80 == 0 { value } else { -value }
}

const fn mu_compress(sample: i16) -> u8 {
    let folded = (sample ^ (sample >> 15)) as i32;
    // 8158 is the largest biased magnitude that still belongs to the last segment: 8191 − 33.
    let clipped = if (folded >> 2) > 8158 { 8158 } else { folded >> 2 };
    let biased = clipped + MU_BIAS;
    let segment = 26 - biased.leading_zeros();
    let step = (biased >> (segment + 1)) & 0x0f;
    let code = (segment << 4) as u8 | step as u8;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(code | sign)
}

const fn a_expand(octet: u8) -> i16 {
    // Even bits are inverted on the wire (G.711 §3, table 1a, note 2).
    let code = octet ^ 0x55;
    let segment = (code >> 4) & 7;
    let step = (code & 0x0f) as i32;
    let magnitude = match segment {
        0 => (step << 1) + 1,
        _ => ((step << 1) + 33) << (segment - 1),
    };
    let value = (magnitude << 3) as i16;
    if code & 0x80 == 0 { -value } else { value }
}

const fn a_compress(sample: i16) -> u8 {
    let folded = ((sample ^ (sample >> 15)) >> 4) as i32;
    let code = if folded < 32 {
        folded as u8
    } else {
        let shift = 27 - folded.leading_zeros();
        ((shift + 1) << 4) as u8 | ((folded >> shift) & 0x0f) as u8
    };
    let sign = if sample < 0 { 0 } else { 0x80 };
    (code | sign) ^ 0x55
}
