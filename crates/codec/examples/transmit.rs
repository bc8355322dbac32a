//! Sends audio through a codec and a network that loses packets, and writes what is heard: for measuring speech quality.
//!
//! ```text
//! transmit CODEC LOSS_PERCENT MEAN_BURST SEED [FEC_PERCENT [BITRATE]] < in.raw > out.raw
//! ```
//!
//! CODEC is `pcmu`, `pcma`, `g722`, `l16` (16 kHz) or `opus`, with a rate in Hz behind a slash for the bandwidth of Opus (`opus/16000`).
//! FEC_PERCENT is the loss that its FEC is made for, 0 for none; BITRATE in bit/s.
//! Audio is mono, 16 bits, little-endian, at the codec's rate, in packets of 20 ms. Losses come in bursts of MEAN_BURST
//! packets (the model of Gilbert); 1 makes them independent.

use std::io::{Read, Write};

use confab_codec::{CodecKind, Coding, OpusSettings};

/// A linear congruence: enough for losses.
struct Random(u64);

impl Random {
    /// Even in 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn coding(name: &str, loss_percent: u8, bitrate_bps: u32) -> Option<(Coding, u32)> {
    let (name, rate) = name.split_once('/').unwrap_or((name, "48000"));
    let opus = OpusSettings {
        inband_fec: loss_percent > 0,
        loss_percent,
        bitrate_bps,
        ..OpusSettings::default()
    };
    let kind = match name {
        "pcmu" => CodecKind::Pcmu,
        "pcma" => CodecKind::Pcma,
        "g722" => CodecKind::G722,
        "l16" => CodecKind::L16 {
            rate_hz: 16_000,
            channels: 1,
        },
        "opus" => CodecKind::Opus,
        _ => return None,
    };
    Some((Coding::new(kind, opus), rate.parse().ok()?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, loss, burst, seed, rest @ ..] = &arguments[..] else {
        return Err(
            "transmit CODEC LOSS_PERCENT MEAN_BURST SEED [FEC_PERCENT [BITRATE]] < in.raw > out.raw".into(),
        );
    };
    let (loss, burst, seed): (f64, f64, u64) = (loss.parse()?, burst.parse()?, seed.parse()?);
    let fec_percent = rest.first().map_or(Ok(0), |percent| percent.parse())?;
    let bitrate_bps = rest.get(1).map_or(Ok(0), |bitrate| bitrate.parse())?;
    let fec = fec_percent > 0;
    let (coding, rate_hz) = coding(name, fec_percent, bitrate_bps).ok_or("no such codec")?;
    let mut octets = Vec::new();
    std::io::stdin().read_to_end(&mut octets)?;
    let pcm: Vec<i16> = octets
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&two| i16::from_le_bytes(two))
        .collect();

    let frame = coding.kind.sample_rate_hz() as usize / 50;
    let mut encoder = coding.encoder();
    encoder.set_mix_rate(rate_hz);
    let packets: Vec<Vec<u8>> = pcm
        .chunks_exact(frame)
        .map(|pcm| {
            let mut payload = vec![0; coding.kind.max_payload(frame)];
            let octets = encoder.encode(pcm, &mut payload);
            payload.truncate(octets);
            payload
        })
        .collect();

    let (mut random, mut losing) = (Random(seed), false);
    (0..20).for_each(|_| _ = random.next());
    let share = loss / 100.0;
    let lost: Vec<bool> = packets
        .iter()
        .map(|_| {
            let ends = 1.0 / burst.max(1.0);
            let begins = if burst > 1.0 {
                share * ends / (1.0 - share)
            } else {
                share
            };
            losing = random.next() < if losing && burst > 1.0 { 1.0 - ends } else { begins };
            losing
        })
        .collect();

    let mut decoder = coding.kind.decoder();
    let mut output = std::io::stdout().lock();
    let mut heard = vec![0; frame];
    for (n, packet) in packets.iter().enumerate() {
        let next = packets.get(n + 1).filter(|_| fec && !lost[n + 1]);
        if !lost[n] {
            decoder.decode(packet, &mut heard)?;
        } else if !next.is_some_and(|next| decoder.decode_fec(next, &mut heard)) {
            decoder.conceal(&mut heard);
        }
        for sample in &heard {
            output.write_all(&sample.to_le_bytes())?;
        }
    }
    Ok(())
}
