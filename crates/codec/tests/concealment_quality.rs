//! What concealment is worth on a speech-like signal: nearer to the original than silence, in waveform and in spectrum.

mod speech;

use confab_codec::CodecKind;
use speech::{Noise, speech_like};

const FRAMES: usize = 1500;

/// Samples in 20 ms of a codec's audio.
fn frame_of(kind: CodecKind) -> usize {
    kind.sample_rate_hz() as usize / 50
}

/// Mean signal-to-noise ratio over the frames picked out, each held to −10 … 35 dB.
fn segmental_snr_db(original: &[i16], heard: &[i16], picked: &[usize]) -> f32 {
    let len = original.len() / FRAMES;
    let of_frame = |&frame: &usize| {
        let range = frame * len..(frame + 1) * len;
        let (mut signal, mut error) = (1.0_f32, 1.0_f32);
        for (a, b) in original[range.clone()].iter().zip(&heard[range]) {
            signal += f32::from(*a).powi(2);
            error += (f32::from(*a) - f32::from(*b)).powi(2);
        }
        (10.0 * (signal / error).log10()).clamp(-10.0, 35.0)
    };
    picked.iter().map(of_frame).sum::<f32>() / picked.len() as f32
}

/// Mean distance of the power spectra in dB over the frames picked out, 100 to 3900 Hz.
fn log_spectral_distance_db(original: &[i16], heard: &[i16], picked: &[usize]) -> f32 {
    let len = original.len() / FRAMES;
    let of_frame = |&frame: &usize| {
        let range = frame * len..(frame + 1) * len;
        let (a, b) = (spectrum_db(&original[range.clone()]), spectrum_db(&heard[range]));
        let squares: f32 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
        (squares / a.len() as f32).sqrt()
    };
    picked.iter().map(of_frame).sum::<f32>() / picked.len() as f32
}

fn spectrum_db(frame: &[i16]) -> Vec<f32> {
    (2..78)
        .map(|bin| {
            let (mut re, mut im) = (0.0_f32, 0.0_f32);
            let len = frame.len() as f32;
            for (n, &sample) in frame.iter().enumerate() {
                let window = 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / len).cos();
                let angle = std::f32::consts::TAU * (bin * n) as f32 / len;
                re += window * f32::from(sample) * angle.cos();
                im -= window * f32::from(sample) * angle.sin();
            }
            10.0 * (re * re + im * im + 1.0).log10()
        })
        .collect()
}

/// Codes and decodes the signal, losing the frames picked out; `conceal` or silence takes their place.
fn transmit(original: &[i16], kind: CodecKind, lost: &[usize], conceal: bool) -> Vec<i16> {
    let frame = frame_of(kind);
    let (mut encoder, mut decoder) = (kind.encoder(), kind.decoder());
    let mut heard = Vec::with_capacity(original.len());
    let mut payload = vec![0; kind.max_payload(frame)];
    for (number, pcm) in original.chunks(frame).enumerate() {
        let mut out = vec![0; frame];
        let octets = encoder.encode(pcm, &mut payload);
        match (lost.contains(&number), conceal) {
            (false, _) => assert_eq!(decoder.decode(&payload[..octets], &mut out), Ok(frame)),
            (true, true) => decoder.conceal(&mut out),
            (true, false) => {}
        }
        heard.extend(out);
    }
    heard
}

const KINDS: [CodecKind; 4] = [
    CodecKind::Pcmu,
    CodecKind::Pcma,
    CodecKind::G722,
    CodecKind::L16 {
        rate_hz: 44_100,
        channels: 1,
    },
];

/// Frames to lose, one in twenty.
fn lost_frames() -> Vec<usize> {
    let mut noise = Noise(20);
    let lost: Vec<usize> = (10..FRAMES).filter(|_| noise.next() > 0.9).collect();
    let share = lost.len() as f32 / FRAMES as f32;
    assert!((0.04..0.06).contains(&share), "{share}");
    lost
}

#[test]
fn five_percent_loss_is_nearer_to_the_original_concealed_than_silent() {
    let lost = lost_frames();
    for kind in KINDS {
        // What is heard without loss: G.722 delays by 22 samples.
        let original = transmit(
            &speech_like(kind.sample_rate_hz(), FRAMES * frame_of(kind)),
            kind,
            &[],
            true,
        );
        let concealed = transmit(
            &speech_like(kind.sample_rate_hz(), FRAMES * frame_of(kind)),
            kind,
            &lost,
            true,
        );
        let silenced = transmit(
            &speech_like(kind.sample_rate_hz(), FRAMES * frame_of(kind)),
            kind,
            &lost,
            false,
        );
        let snr = [&concealed, &silenced].map(|heard| segmental_snr_db(&original, heard, &lost));
        let distance = [&concealed, &silenced].map(|heard| log_spectral_distance_db(&original, heard, &lost));
        println!("{kind:?}: SNR {snr:.1?} dB, log-spectral distance {distance:.1?} dB");
        assert!(snr[0] > snr[1] + 2.0, "{kind:?} SNR: {snr:?}");
        assert!(
            distance[0] < distance[1] / 2.0,
            "{kind:?} log-spectral distance: {distance:?}"
        );
    }
}

#[test]
fn g722_is_itself_again_soon_after_a_loss() {
    let kind = CodecKind::G722;
    let lost = lost_frames();
    let original = transmit(
        &speech_like(kind.sample_rate_hz(), FRAMES * frame_of(kind)),
        kind,
        &[],
        true,
    );
    let heard = [true, false].map(|conceal| {
        transmit(
            &speech_like(kind.sample_rate_hz(), FRAMES * frame_of(kind)),
            kind,
            &lost,
            conceal,
        )
    });
    for after in 1..=3 {
        let frames: Vec<usize> = lost
            .iter()
            .map(|frame| frame + after)
            .filter(|frame| (1..=after).all(|back| !lost.contains(&(frame + 1 - back))) && *frame < FRAMES)
            .collect();
        let [concealed, frozen] = heard
            .each_ref()
            .map(|heard| segmental_snr_db(&original, heard, &frames));
        println!("frame {after} after a loss: {concealed:.1} dB, with frozen predictors {frozen:.1} dB");
        assert!(concealed > frozen + 0.5 && concealed > [4.0, 9.0, 11.0][after - 1]);
    }
}
