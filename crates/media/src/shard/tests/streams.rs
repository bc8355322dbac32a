//! Streams as networks and clocks leave them: loss with and without repair, stalls, clocks that run apart, pauses with and
//! without their own sound. What is measured is what another leg hears.

use confab_codec::{CodecKind, Coding, OpusSettings};

use super::speaker::{Dice, Fate, Line, Voice, l16, leg, on_time};
use super::world::MS;
use crate::shard::command::Command;

/// At 8 kHz, which is enough to compare voices by.
fn thinned(samples: &[i16], rate_hz: u32) -> Vec<f32> {
    let factor = (rate_hz / 8000) as usize;
    let mean = |chunk: &[i16]| chunk.iter().map(|&s| f32::from(s)).sum::<f32>() / factor as f32;
    samples.chunks_exact(factor).map(mean).collect()
}

/// Returns where in what was said, around a place, is what is most like `heard`, and the energy of the difference as a share
/// of the energy.
fn match_with(said: &[f32], heard: &[f32], around: usize, reach: usize) -> (usize, f64) {
    let energy: f64 = heard.iter().map(|&s| f64::from(s).powi(2)).sum();
    let candidates = around.saturating_sub(reach)..=around + reach;
    let difference = |at: usize| -> f64 {
        let Some(said) = said.get(at..at + heard.len()) else {
            return f64::INFINITY;
        };
        said.iter()
            .zip(heard)
            .map(|(&a, &b)| f64::from(a - b).powi(2))
            .sum()
    };
    let best = candidates
        .map(|at| (at, difference(at)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let (at, error) = best.expect("there is a candidate");
    (at, error / energy.max(1.0))
}

const OPUS_WIDEBAND: OpusSettings = OpusSettings {
    bitrate_bps: 24_000,
    cbr: false,
    stereo: false,
    dtx: false,
    inband_fec: false,
    loss_percent: 0,
    max_playback_rate_hz: 16_000,
};

/// Mean error of what is heard through 10 % of random loss, as a share of the voice's energy, and the share of the lost
/// audio that was repaired.
fn error_at_loss(opus: OpusSettings) -> (f64, f64) {
    let coding = Coding::new(CodecKind::Opus, opus);
    let mut line = Line::new(&leg(0, coding, 20), 0);
    let mut voice = Voice::new(48_000);
    let mut dice = Dice(12_345);
    let mut lossy = |packet: u64| {
        if packet > 50 && dice.falls(10) {
            Fate::Lost
        } else {
            Fate::Late(0)
        }
    };
    line.run(20_000, &mut |out| voice.fill(out), &mut lossy);
    let mut decoder = CodecKind::Opus.decoder();
    let mut whole = Vec::new();
    for payload in &line.speaker.payloads {
        let mut pcm = [0; 960];
        decoder.decode(payload, &mut pcm).unwrap();
        whole.extend_from_slice(&pcm);
    }
    let (said, heard) = (thinned(&whole, 48_000), thinned(&line.listener.heard, 48_000));
    // By then the delay has found its place.
    let (mut error, mut pieces) = (0.0, 0);
    for start in (8 * 8000..heard.len() - 1600).step_by(800) {
        error += match_with(&said, &heard[start..start + 800], start - 400, 1200)
            .1
            .min(1.0);
        pieces += 1;
    }
    let stats = line.stats();
    let repaired = stats.repaired_ms as f64 / (stats.repaired_ms + stats.concealed_ms) as f64;
    println!(
        "FEC {}: error {:.1} dB, {:.0} % repaired, {stats:?}",
        opus.inband_fec,
        10.0 * (error / f64::from(pieces)).log10(),
        100.0 * repaired
    );
    (error / f64::from(pieces), repaired)
}

#[test]
fn lost_opus_is_repaired_where_the_stream_carries_it() {
    let (without, nothing) = error_at_loss(OPUS_WIDEBAND);
    let (with, most) = error_at_loss(OpusSettings {
        inband_fec: true,
        loss_percent: 15,
        ..OPUS_WIDEBAND
    });
    assert_eq!(nothing, 0.0);
    // The encoder repeats only what is worth it, and never two packets.
    assert!(most > 0.4, "{most}");
    assert!(with < 0.5 * without, "{with} and {without}");
}

#[test]
fn a_stall_of_two_seconds_is_over_within_five() {
    for kind in [CodecKind::Pcmu, CodecKind::G722, CodecKind::Opus] {
        let mut line = Line::new(&leg(0, kind.into(), 20), 0);
        let mut voice = Voice::new(kind.sample_rate_hz());
        let signal = &mut |out: &mut [i16]| voice.fill(out);
        line.run(5000, signal, &mut on_time);
        let before = line.stats();
        // Everything of two seconds comes at their end.
        let mut stalled = |packet: u64| match packet {
            250..350 => Fate::Late((350 - packet) * 20 * MS),
            _ => Fate::Late(0),
        };
        line.run(2000, signal, &mut stalled);
        line.run(5000, signal, &mut stalled);
        let after = line.stats();
        println!("{kind:?}: {before:?}\n{after:?}");
        let delay_ms = |stats: &crate::stats::LegStats| stats.playout_delay.as_millis();
        assert!(
            delay_ms(&after) <= delay_ms(&before) + 20,
            "{kind:?}: {} and {} ms",
            delay_ms(&before),
            delay_ms(&after)
        );
        let concealed_before = after.concealed_ms;
        line.run(2000, signal, &mut stalled);
        assert_eq!(line.stats().concealed_ms, concealed_before, "{kind:?}");
    }
}

/// Lets a voice without pauses come from a clock that runs apart for twenty minutes.
fn drift(skew_ppm: f64, kind: CodecKind) {
    let rate_hz = kind.sample_rate_hz();
    let mut line = Line::new(&leg(0, kind.into(), 20), 0);
    line.speaker.skew_ppm = skew_ppm;
    let mut voice = Voice::new(rate_hz);
    let mut said: Vec<i16> = Vec::new();
    // Where in what was heard, and how late against the speaker's time, in ms.
    let mut delays: Vec<f64> = Vec::new();
    let (mut worst_step, mut usual_step) = (0, 0);
    let mut weakest = i16::MAX;
    let mut reference = kind.decoder();
    for second in 0..1200_u64 {
        let mut signal = |out: &mut [i16]| {
            voice.fill(out);
            said.extend_from_slice(out);
        };
        line.run(1000, &mut signal, &mut on_time);
        let heard = std::mem::take(&mut line.listener.heard);
        if second >= 1 {
            let step = |pcm: &[i16]| pcm.windows(2).map(|w| w[0].abs_diff(w[1])).max().unwrap_or(0);
            // What the codec by itself makes of the voice.
            for payload in line.speaker.payloads.drain(..) {
                let mut pcm = [0; 5760];
                let samples = reference.decode(&payload, &mut pcm).unwrap();
                usual_step = usual_step.max(step(&pcm[..samples]));
            }
            worst_step = worst_step.max(step(&heard));
            let peaks = heard.chunks_exact(rate_hz as usize / 50);
            let peaks = peaks.map(|chunk| chunk.iter().map(|s| s.saturating_abs()).max().unwrap_or(0));
            weakest = weakest.min(peaks.min().unwrap_or(0));
        }
        if second % 20 == 19 {
            // The last 100 ms heard, against the last second said.
            let last = thinned(&heard[heard.len() - rate_hz as usize / 10..], rate_hz);
            let recent = thinned(&said[said.len() - rate_hz as usize..], rate_hz);
            let (at, error) = match_with(&recent, &last, 3600, 3600);
            assert!(error < 0.5, "second {second}: nothing is like it, {error}");
            // What was said last was complete with the last packet; the listener's last packet may be up to 5 ms old.
            let said_ms = line.speaker.packets as f64 * 20.0 / (1.0 + skew_ppm / 1e6);
            let age_ms = (second + 1) as f64 * 1000.0 - said_ms;
            let behind_ms = (recent.len() - last.len() - at) as f64 / 8.0;
            delays.push(behind_ms + age_ms);
        }
        let keep = said.len().saturating_sub(rate_hz as usize);
        said.drain(..keep);
    }
    let stats = line.stats();
    let (least, most) = delays.iter().fold((f64::MAX, f64::MIN), |(least, most), &delay| {
        (least.min(delay), most.max(delay))
    });
    println!(
        "{kind:?} {skew_ppm} ppm: delay {least:.1} to {most:.1} ms, step {worst_step} of {usual_step}, weakest {weakest}, {stats:?}"
    );
    assert!(most - least <= 20.0, "{skew_ppm} ppm: {delays:?}");
    assert!(stats.concealed_ms == 0 && stats.packets_late == 0, "{stats:?}");
    assert!(
        f64::from(worst_step) <= 1.2 * f64::from(usual_step),
        "a jump of {worst_step}, the voice has {usual_step}"
    );
    assert!(weakest > 200, "a gap: {weakest}");
    let skew = stats.skew_ppm.expect("known after a minute");
    assert!((f64::from(skew) - skew_ppm).abs() < 10.0, "{skew}");
}

#[test]
fn a_fast_clock_costs_neither_delay_nor_breaks() {
    drift(200.0, l16(16_000));
}

#[test]
fn a_slow_clock_costs_neither_delay_nor_breaks() {
    drift(-200.0, l16(16_000));
}

#[test]
fn pairs_of_samples_stay_together_when_the_clock_runs_apart() {
    drift(200.0, CodecKind::G722);
}

fn rms(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    (energy / samples.len().max(1) as f64).sqrt()
}

#[test]
fn the_peers_background_goes_on_in_its_pauses() {
    let media = leg(0, CodecKind::Pcmu.into(), 20);
    for (energy_level, sounds) in [(0, true), (300, false)] {
        let mut line = Line::new(&media, energy_level);
        let mut voice = Voice::new(8000);
        line.run(1000, &mut |out| voice.fill(out), &mut on_time);
        // A pause of three seconds, in which the peer says once that there is noise of -50 dBov.
        line.speaker.phone.payload_type = 13;
        let mut bytes = [0; 13];
        super::world::rtp(&mut line.speaker.phone, 13, false, &[50], &mut bytes);
        line.speaker.phone.payload_type = 0;
        let (phone, address) = (line.speaker.phone, line.speaker.phone.address);
        line.world
            .deliver(&phone, crate::io::Channel::Rtp, address, &bytes, 0);
        for _ in 0..600 {
            line.world.turn();
            line.listener.listen(&line.world);
        }
        let expected = if sounds {
            32_768.0 * 10_f64.powf(-50.0 / 20.0)
        } else {
            0.0
        };
        // With the gate open for 0.8 s more it is heard that long in any case.
        let pause = line.listener.between(2500, 3900);
        assert!(
            (rms(pause) - expected).abs() <= expected * 0.2,
            "{} of {expected}",
            rms(pause)
        );
        let concealed_ms = line.stats().concealed_ms;
        assert!(concealed_ms <= 20, "a pause is no loss: {concealed_ms} ms");
    }
}

#[test]
fn a_pause_without_a_word_counts_as_one_once_it_is_over() {
    let rows: [(Coding, bool); 3] = [
        (CodecKind::Pcmu.into(), true),
        (CodecKind::Pcmu.into(), false),
        (Coding::new(CodecKind::Opus, OPUS_WIDEBAND), true),
    ];
    for (coding, pauses) in rows {
        let mut line = Line::new(&leg(0, coding, 20), 0);
        let mut voice = Voice::new(coding.kind.sample_rate_hz());
        line.run(1000, &mut |out| voice.fill(out), &mut on_time);
        let first = line.speaker.packets;
        line.run(400, &mut |out| voice.fill(out), &mut |_| Fate::Lost);
        if pauses {
            // Time went on and the numbers did not: these packets were never sent.
            let unsent = (line.speaker.packets - first) as u16;
            line.speaker.phone.sequence = line.speaker.phone.sequence.wrapping_sub(unsent);
        }
        line.run(1000, &mut |out| voice.fill(out), &mut on_time);
        let concealed_ms = line.stats().concealed_ms;
        assert_eq!(concealed_ms == 0, pauses, "{concealed_ms} ms");
    }
}

#[test]
fn opus_pauses_are_no_loss_and_sound_like_before() {
    let opus = OpusSettings {
        dtx: true,
        ..OPUS_WIDEBAND
    };
    let mut line = Line::new(&leg(0, Coding::new(CodecKind::Opus, opus), 20), 0);
    let mut voice = Voice::new(48_000);
    let mut dice = Dice(99);
    let mut noise = move |out: &mut [i16]| {
        out.fill_with(|| if dice.falls(50) { 60 } else { -60 });
    };
    line.run(2000, &mut |out| voice.fill(out), &mut on_time);
    // What has no sound in it need not be sent (RFC 7587 §3.1.3): here it is, or it is not.
    line.run(4000, &mut noise, &mut on_time);
    let without_sound = line
        .speaker
        .payloads
        .iter()
        .filter(|payload| payload.len() <= 2)
        .count();
    assert!(without_sound > 50, "the encoder pauses: {without_sound}");
    let (early, late) = (
        rms(line.listener.between(2300, 2600)),
        rms(line.listener.between(4000, 6000)),
    );
    println!("noise {early:.1}, then {late:.1}; {:?}", line.stats());
    assert!(late > 0.2 * early && late < 2.0 * early, "{early} and {late}");
    let stats = line.stats();
    assert_eq!((stats.concealed_ms, stats.packets_lost), (0, 0), "{stats:?}");
    let mos = stats.mos_hundredths.expect("rated");
    assert!(mos > 430, "{mos}");
}

#[test]
fn a_muted_opus_leg_is_heard_at_once_when_it_is_unmuted() {
    let coding = Coding::new(CodecKind::Opus, OPUS_WIDEBAND);
    let mut line = Line::new(&leg(0, coding, 20), 0);
    let mut voice = Voice::new(48_000);
    let signal = &mut |out: &mut [i16]| voice.fill(out);
    line.run(1000, signal, &mut on_time);
    for muted in [true, false] {
        line.world.command(Command::SetMuted {
            leg: line.speaker.phone.leg,
            muted,
        });
        line.run(1500, signal, &mut on_time);
    }
    assert!(
        line.listener
            .between(1200, 2400)
            .iter()
            .all(|&sample| sample == 0)
    );
    let mut decoder = CodecKind::Opus.decoder();
    let mut whole = Vec::new();
    for payload in &line.speaker.payloads {
        let mut pcm = [0; 960];
        decoder.decode(payload, &mut pcm).unwrap();
        whole.extend_from_slice(&pcm);
    }
    let (said, heard) = (thinned(&whole, 48_000), thinned(&line.listener.heard, 48_000));
    let start = 8 * 2560;
    let (_, error) = match_with(&said, &heard[start..start + 1600], start - 400, 1200);
    assert!(error < 0.01, "{error}");
}

#[test]
fn an_opus_leg_that_was_quiet_is_heard_as_if_all_of_it_were_decoded() {
    let coding = Coding::new(CodecKind::Opus, OPUS_WIDEBAND);
    // Where digits have to be heard in the audio everything is decoded.
    let [sparing, whole] = [true, false].map(|sparing| {
        let mut media = leg(0, coding, 20);
        if !sparing {
            media.telephone_event = None;
        }
        let mut line = Line::new(&media, 20);
        let (mut voice, mut dice) = (Voice::new(48_000), Dice(7));
        let mut hiss = move |out: &mut [i16]| out.fill_with(|| if dice.falls(50) { 8 } else { -8 });
        let mut energies = Vec::new();
        for _ in 0..4 {
            line.run(2100, &mut hiss, &mut on_time);
            energies.push(line.stats().energy);
            line.run(700, &mut |out| voice.fill(out), &mut on_time);
        }
        (line.listener.heard, energies)
    });
    println!("energies {:?} and {:?}", sparing.1, whole.1);
    for (told, decoded) in sparing.1.iter().zip(&whole.1) {
        assert!(told.abs_diff(*decoded) <= 3, "{told} and {decoded}");
    }
    let first = |heard: &[i16]| heard.iter().position(|&sample| sample != 0);
    assert!(first(&whole.0).is_some());
    assert_eq!(first(&sparing.0), first(&whole.0));
    let (mut energy, mut error) = (0.0, 0.0);
    for (&a, &b) in whole.0.iter().zip(&sparing.0) {
        energy += f64::from(a).powi(2);
        error += (f64::from(a) - f64::from(b)).powi(2);
    }
    assert!(
        error < energy / 1000.0,
        "{:.1} dB",
        10.0 * (error / energy).log10()
    );
}
