//! Those who wait hear one signal and share its encoding; coming from it and going to it leaves no break in a codec's memory.

use confab_codec::{CodecKind, Coding};

use super::house::{Ear, House, clip, forever, tones};
use super::speaker::{Voice, l16};
use crate::leg::output::{Packing, Shared};
use crate::playback::{Lane, Play};
use crate::shard::command::Audience;

/// Music with pauses, in which who has his own encoder may go over to the shared one.
fn music() -> Play {
    tones("v=-12;%(900,600,437,650);loops=-1")
}

/// A voice that never pauses.
fn voice(milliseconds: usize) -> Play {
    let mut samples = vec![0; 48 * milliseconds];
    Voice::new(48_000).fill(&mut samples);
    forever(clip(48_000, samples))
}

fn packing(house: &mut House, ear: usize) -> Packing {
    let at = house.ears[ear].phone.leg;
    let leg = house.world.shard.legs.get(at.index, at.generation);
    leg.expect("the leg is there").output.packing
}

#[test]
fn many_who_wait_share_one_encoding() {
    for kind in [CodecKind::Pcmu, CodecKind::G722, CodecKind::Opus] {
        let mut house = House::new(&[kind; 12], 16_000);
        house.play(Audience::Everybody, Lane::Background, voice(2000));
        house.play(Audience::Waiting, Lane::Background, music());
        house.run(500);
        // Ten come to wait, one after the other.
        for ear in 0..10 {
            house.hold(ear, true);
            house.run(20);
        }
        house.run(4000);
        house.forget();
        house.run(3000);
        let [first, .., talker] = &house.ears[..] else {
            unreachable!()
        };
        let packets = &first.payloads;
        assert!(packets.len() > 140);
        for (number, ear) in house.ears[..10].iter().enumerate() {
            assert!(
                ear.payloads == *packets,
                "{kind:?}: {number} has packets of his own"
            );
        }
        assert!(talker.payloads != *packets);
        for ear in 0..10 {
            assert_eq!(
                packing(&mut house, ear),
                Packing::Shared(Shared::Waiting),
                "{kind:?}"
            );
        }
        assert_eq!(packing(&mut house, 11), Packing::Shared(Shared::Common));
    }
}

#[test]
fn one_who_comes_to_wait_and_goes_is_encoded_without_a_break() {
    for (kind, plain) in [(CodecKind::G722, l16(16_000)), (CodecKind::Opus, l16(48_000))] {
        let rate_hz = kind.sample_rate_hz();
        // Both hear the same, one of them as it is.
        let mut house = House::new(&[kind, plain], rate_hz);
        house.play(Audience::Everybody, Lane::Background, voice(1300));
        house.play(Audience::Waiting, Lane::Background, music());
        for (held, milliseconds) in [
            (false, 500),
            (true, 705),
            (false, 410),
            (true, 1030),
            (false, 700),
        ] {
            for ear in 0..2 {
                house.hold(ear, held);
            }
            house.run(milliseconds);
        }
        let [coded, plain] = &house.ears[..] else {
            unreachable!()
        };
        let mut encoder = Coding::from(kind).encoder();
        encoder.set_mix_rate(rate_hz);
        let packet = rate_hz as usize / 50;
        let mut payload = vec![0; kind.max_payload(packet)];
        assert!(coded.payloads.len() > 150);
        for (number, (sent, heard)) in coded
            .payloads
            .iter()
            .zip(plain.heard.chunks_exact(packet))
            .enumerate()
        {
            let length = encoder.encode(heard, &mut payload);
            // As if he had had one encoder all the time.
            assert!(*sent == payload[..length], "{kind:?}: packet {number}");
        }
    }
}

/// Returns the energy of the difference of what two hear, in dB of what the second hears.
fn difference(one: &Ear, other: &Ear, from_ms: usize) -> f64 {
    let from = one.kind.sample_rate_hz() as usize / 1000 * from_ms;
    let energy = |samples: &mut dyn Iterator<Item = f64>| samples.map(|s| s * s).sum::<f64>().max(1e-9);
    let pairs = || one.heard[from..].iter().zip(&other.heard[from..]);
    let error = energy(&mut pairs().map(|(&a, &b)| f64::from(a) - f64::from(b)));
    10.0 * (error / energy(&mut pairs().map(|(_, &b)| f64::from(b)))).log10()
}

#[test]
fn who_comes_back_to_those_who_wait_joins_them_unheard() {
    // The third number is the least time for which both encoders write different packets. Opus codes music nearly without a memory:
    // they may write the same as soon as both hear it.
    for (kind, bound_db, least_ms) in [(CodecKind::G722, -60.0, 300), (CodecKind::Opus, -40.0, 20)] {
        let mut house = House::new(&[kind, kind], 16_000);
        house.hold(1, true);
        house.play(Audience::Everybody, Lane::Background, voice(2000));
        house.play(Audience::Waiting, Lane::Background, music());
        house.run(1000);
        for _ in 0..3 {
            house.hold(0, true);
            house.forget();
            // From when on he is sent the shared packets; they may have been the same before.
            let mut joined_ms = None;
            for n in 1..=300 {
                house.run(20);
                if joined_ms.is_none() && packing(&mut house, 0) == Packing::Shared(Shared::Waiting) {
                    joined_ms = Some(20 * n);
                }
            }
            let joined_ms = joined_ms.expect("he joins");
            let [switched, steady] = &house.ears[..] else {
                unreachable!()
            };
            let packets = switched.payloads.len();
            let own = (0..packets).rposition(|n| switched.payloads[n] != steady.payloads[n]);
            let shared_from_ms = (own.expect("he came with an encoder of his own") + 1) * 20;
            assert!(shared_from_ms <= joined_ms, "{kind:?}: {shared_from_ms} ms");
            assert!((least_ms..4500).contains(&joined_ms), "{kind:?}: {joined_ms} ms");
            let error = difference(switched, steady, joined_ms);
            assert!(error < bound_db, "{kind:?}: {error:.1} dB");
            // The same packets before that say nearly the same.
            let error = difference(switched, steady, shared_from_ms);
            assert!(
                error < -40.0,
                "{kind:?}: {error:.1} dB from {shared_from_ms} ms on"
            );
            house.hold(0, false);
            house.run(700);
        }
    }
}
