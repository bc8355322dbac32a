//! G.722 to the bit, both ways, against checksums of what ffmpeg makes of the same signals. `tests/oracle/g722` of this crate
//! makes the comparison with ffmpeg itself; it has this test write its signals by naming a folder in `CONFAB_G722_DIR`.

use std::path::Path;

use confab_codec::CodecKind;
use sha2::{Digest, Sha256};

const SAMPLES: usize = 32_000;

/// Noise by a linear congruence, full scale.
fn noise(seed: u32) -> impl Iterator<Item = i16> {
    std::iter::successors(Some(seed), |state| {
        Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    })
    .map(|state| (state >> 16) as i16)
}

/// A triangle of which the frequency rises from 0 to 8 kHz.
fn sweep() -> Vec<i16> {
    let mut phase = 0_u32;
    (0..SAMPLES as u32)
        .map(|n| {
            phase = phase.wrapping_add(n << 16);
            ((phase >> 15) as u16 as i16)
                .saturating_abs()
                .saturating_sub(16_384)
        })
        .collect()
}

/// Noise through two integer resonances, swelling and falling: about what speech does to the predictors.
fn resonant() -> Vec<i16> {
    let (mut first, mut second) = ([0_i64; 2], [0_i64; 2]);
    noise(3)
        .take(SAMPLES)
        .enumerate()
        .map(|(n, sample)| {
            let level = (n % 4000).min(4000 - n % 4000) as i64;
            let input = (i64::from(sample) * level) >> 15;
            for (past, feedback) in [(&mut first, 31_000), (&mut second, 8000)] {
                let output = input + ((feedback * past[0] - 15_700 * past[1]) >> 14);
                *past = [output, past[0]];
            }
            ((first[0] + second[0]) / 2).clamp(-20_000, 20_000) as i16
        })
        .collect()
}

/// Square waves at full scale whose period changes, with silence and single impulses between: everything overloads.
fn overload() -> Vec<i16> {
    (0..SAMPLES)
        .map(|n| match (n / 1600) % 4 {
            3 if n % 400 == 7 => i16::MIN,
            3 => 0,
            _ if (n / (2 + n / 800)) % 2 == 0 => i16::MAX,
            _ => i16::MIN,
        })
        .collect()
}

fn signals() -> Vec<(&'static str, Vec<i16>)> {
    let quiet = noise(2).take(SAMPLES).map(|sample| sample >> 9).collect();
    vec![
        ("loud-noise", noise(1).take(SAMPLES).collect()),
        ("quiet-noise", quiet),
        ("sweep", sweep()),
        ("resonant", resonant()),
        ("overload", overload()),
        ("silence", vec![0; SAMPLES]),
    ]
}

fn encode(pcm: &[i16]) -> Vec<u8> {
    let mut encoder = CodecKind::G722.encoder();
    let mut payload = vec![0; pcm.len() / 2];
    for (pcm, out) in pcm.chunks(320).zip(payload.chunks_mut(160)) {
        assert_eq!(encoder.encode(pcm, out), out.len());
    }
    payload
}

fn decode(octets: &[u8]) -> Vec<i16> {
    let mut decoder = CodecKind::G722.decoder();
    let mut pcm = vec![0; octets.len() * 2];
    for (octets, out) in octets.chunks(160).zip(pcm.chunks_mut(320)) {
        assert_eq!(decoder.decode(octets, out), Ok(out.len()));
    }
    pcm
}

fn bytes(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(8)
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

fn write(name: &str, extension: &str, contents: &[u8]) {
    if let Some(folder) = std::env::var_os("CONFAB_G722_DIR") {
        std::fs::write(Path::new(&folder).join(name).with_extension(extension), contents)
            .expect("the folder can be written");
    }
}

/// First eight octets of the SHA-256 of ffmpeg 5.1's output: the octets, and the samples decoded from them (little-endian).
/// The octets of "overload" are our own: ffmpeg leaves out the limit that the recommendation sets to the samples of the
/// sub-bands (without it ours were the same as well).
const GOLDEN: [(&str, &str, &str); 6] = [
    ("loud-noise", "9f53b8b0f15e4990", "5eabd403ce6746d3"),
    ("quiet-noise", "24031aff7806501f", "615ad0d65243943e"),
    ("sweep", "76177f8a23c6004d", "bafb40b1396dd928"),
    ("resonant", "bd77cc0378b4229b", "fc1067fcee16279a"),
    ("overload", "d3db7c60f57e6ca6", "e16715cc15173d08"),
    ("silence", "fd22c79f66c5dedb", "6c8fb4db5c596c09"),
];

#[test]
fn encoder_and_decoder_agree_with_the_reference_to_the_bit() {
    let made: Vec<(&str, String, String)> = signals()
        .into_iter()
        .map(|(name, pcm)| {
            let octets = encode(&pcm);
            let heard = bytes(&decode(&octets));
            write(name, "pcm", &bytes(&pcm));
            write(name, "g722", &octets);
            write(name, "heard", &heard);
            (name, checksum(&octets), checksum(&heard))
        })
        .collect();
    assert_eq!(
        made,
        GOLDEN.map(|(name, octets, heard)| (name, octets.to_owned(), heard.to_owned()))
    );
}

#[test]
fn any_octets_decode_as_the_reference_decodes_them() {
    let octets: Vec<u8> = noise(9).take(SAMPLES).map(|sample| (sample >> 4) as u8).collect();
    let heard = bytes(&decode(&octets));
    write("octets", "g722", &octets);
    write("octets", "heard", &heard);
    assert_eq!(checksum(&heard), "6510e779acba4ca2");
}
