//! Legs with SRTP: they hear and are heard bit-exact, and what is damaged, forged or replayed harms nothing.

use confab_srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use confab_testkit::allocation::calls;

use super::world::{Heard, MS, Packet, Phone, World, media, renegotiate, rtp, steady};
use crate::config::{LegMedia, SrtpMedia};
use crate::io::Channel;
use crate::metrics::DropReason;

const A: i16 = 24;
const B: i16 = 40;

fn key(suite: Suite, octet: u8) -> MasterKey {
    MasterKey::new(suite, &vec![octet; suite.key_len() + suite.salt_len()]).expect("as long as it has to be")
}

fn keys(suite: Suite, mki: Option<Mki>) -> SrtpMedia {
    SrtpMedia {
        send: key(suite, 1),
        receive: key(suite, 2),
        receive_mki: mki,
    }
}

/// A phone with the other side of the keys.
struct Secured {
    phone: Phone,
    protector: Protector,
    unprotector: Unprotector,
    /// What it sent last, as it was on the way.
    sent: Vec<u8>,
}

impl Secured {
    fn new(phone: Phone, keys: &SrtpMedia) -> Secured {
        Secured {
            phone,
            protector: Protector::new(&keys.receive, keys.receive_mki),
            unprotector: Unprotector::new(&keys.send, None),
            sent: Vec::new(),
        }
    }

    fn speak(&mut self, world: &World, value: i16) {
        self.speak_later(value);
        world.deliver(&self.phone, Channel::Rtp, self.phone.address, &self.sent, 0);
    }

    /// Makes the next packet.
    fn speak_later(&mut self, value: i16) {
        let mut bytes = [0; 1500];
        let payload_type = self.phone.payload_type;
        let length = rtp(&mut self.phone, payload_type, false, &steady(value), &mut bytes);
        self.phone.timestamp = self.phone.timestamp.wrapping_add(160);
        let length = self.protector.protect_rtp(&mut bytes, length).expect("protected");
        self.sent = bytes[..length].to_vec();
    }

    fn open(&mut self, mut packet: Packet, channel: Channel) -> Packet {
        let bytes = &mut packet.bytes[..packet.len];
        packet.len = match channel {
            Channel::Rtp => self.unprotector.unprotect_rtp(bytes),
            Channel::Rtcp => self.unprotector.unprotect_rtcp(bytes),
        }
        .expect("it authenticates");
        packet
    }

    fn audio(&mut self, world: &World) -> Vec<Heard> {
        let packets: Vec<_> = std::iter::from_fn(|| world.heard(&self.phone, Channel::Rtp)).collect();
        packets
            .into_iter()
            .map(|packet| Heard::read(&self.open(packet, Channel::Rtp)))
            .collect()
    }
}

/// A secured leg and a plain one in a room.
fn room(world: &mut World, keys: &SrtpMedia) -> (Secured, Phone) {
    let secured = LegMedia {
        srtp: Some(keys.clone()),
        ..media(0)
    };
    let secured = world.leg(&secured);
    let plain = world.leg(&media(1));
    world.room(&[secured, plain], 0);
    world.forget();
    (Secured::new(secured, keys), plain)
}

#[test]
fn a_secured_leg_hears_and_is_heard_bit_exact_in_every_suite() {
    for suite in Suite::ALL {
        for mki in [None, Mki::new(&[0, 0, 0, 1])] {
            let mut world = World::new();
            let (mut ann, mut bob) = room(&mut world, &keys(suite, mki));
            let mut heard = (Vec::new(), Vec::new());
            // Sequence numbers wrap on the way, in both directions.
            for _ in 0..600 {
                ann.speak(&world, A);
                world.speak(&mut bob, &steady(B));
                world.turns(4);
                heard.0.extend(ann.audio(&world));
                heard.1.extend(world.audio(&bob));
            }
            assert_eq!((heard.0.len(), heard.1.len()), (600, 600), "{suite:?}");
            assert!(heard.0[3..].iter().all(|packet| packet.level() == B), "{suite:?}");
            assert!(heard.1[3..].iter().all(|packet| packet.level() == A), "{suite:?}");
            assert_eq!(world.metrics().dropped.iter().sum::<u64>(), 0);
            assert_eq!(world.stats(&ann.phone).octets_sent, world.stats(&bob).octets_sent);
        }
    }
}

#[test]
fn reports_are_secured_too() {
    let mut world = World::new();
    let keys = keys(Suite::AesCm128HmacSha1_32, None);
    let (mut ann, _) = room(&mut world, &keys);
    for _ in 0..500 {
        ann.speak(&world, A);
        world.turns(4);
    }
    let report = world.heard(&ann.phone, Channel::Rtcp).expect("a report");
    let report = ann.open(report, Channel::Rtcp);
    assert_eq!(report.bytes()[1], 200, "a sender report");
    // One of the phone, then the same again, then one that nobody protected.
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 9]);
    let length = ann.protector.protect_rtcp(&mut bytes, 8).expect("protected");
    let from = std::net::SocketAddr::new(ann.phone.address.ip(), 4001);
    for (bytes, reason) in [
        (&bytes[..length], None),
        (&bytes[..length], Some(DropReason::Replayed)),
        (&bytes[..8], Some(DropReason::Malformed)),
        (&[0x80; 30][..], Some(DropReason::Unauthentic)),
    ] {
        let before: u64 = world.metrics().dropped.iter().sum();
        world.deliver(&ann.phone, Channel::Rtcp, from, bytes, 0);
        world.turns(200);
        let after: u64 = world.metrics().dropped.iter().sum();
        assert_eq!(after - before, u64::from(reason.is_some()), "{reason:?}");
        if let Some(reason) = reason {
            assert!(world.dropped(reason) > 0, "{reason:?}");
        }
    }
}

#[test]
fn what_is_forged_damaged_or_replayed_changes_no_sample_and_is_counted() {
    for suite in Suite::ALL {
        let mut world = World::new();
        let (mut ann, mut bob) = room(&mut world, &keys(suite, None));
        let mut plain = ann.phone;
        let stranger = "198.51.100.66:4444".parse().expect("an address");
        let mut heard = Vec::new();
        for round in 0..300_u32 {
            let before = ann.sent.clone();
            ann.speak_later(A);
            let now = ann.sent.clone();
            // Of before again; the one of now damaged, from the leg's own address and from another; what nobody protected.
            let mut damaged = now.clone();
            damaged[(12 + round % 150) as usize] ^= 1;
            let mut forged = [0; 1500];
            let length = rtp(&mut plain, 0, false, &steady(B), &mut forged);
            for (from, bytes) in [
                (ann.phone.address, &before[..]),
                (stranger, &before[..]),
                (ann.phone.address, &damaged[..]),
                (stranger, &damaged[..]),
                (stranger, &forged[..length]),
                (ann.phone.address, &forged[..length]),
            ] {
                world.deliver(&ann.phone, Channel::Rtp, from, bytes, 0);
            }
            world.deliver(&ann.phone, Channel::Rtp, ann.phone.address, &now, 0);
            world.speak(&mut bob, &steady(B));
            world.turns(4);
            heard.extend(world.audio(&bob));
            assert!(
                ann.audio(&world)
                    .iter()
                    .all(|packet| [0, B].contains(&packet.level()))
            );
        }
        assert_eq!(heard.len(), 300);
        assert!(heard[3..].iter().all(|packet| packet.level() == A), "{suite:?}");
        assert_eq!(world.dropped(DropReason::Replayed), 2 * 299, "{suite:?}");
        assert_eq!(
            world.dropped(DropReason::Unauthentic) + world.dropped(DropReason::Malformed),
            4 * 300 + 2,
            "{suite:?}"
        );
        assert_eq!(world.stats(&ann.phone).packets_lost, 0);
    }
}

#[test]
fn a_stream_that_authenticates_may_come_from_anywhere_and_is_answered_there() {
    let mut world = World::new();
    let (mut ann, mut bob) = room(&mut world, &keys(Suite::AeadAes128Gcm, None));
    for round in 0..100 {
        if round == 50 {
            // Its network got another address, without a word.
            ann.phone.address = "203.0.113.77:6000".parse().expect("an address");
        }
        ann.speak(&world, A);
        world.speak(&mut bob, &steady(B));
        world.turns(4);
        let heard = world.audio(&bob);
        assert!(
            round < 3 || heard.iter().all(|packet| packet.level() == A),
            "{round}"
        );
        while let Some(packet) = world.heard(&ann.phone, Channel::Rtp) {
            if round != 50 {
                assert_eq!(packet.peer, ann.phone.address, "{round}");
            }
        }
    }
}

#[test]
fn new_keys_of_a_re_invite_take_over_without_a_gap_and_the_same_keys_go_on() {
    for (suite, next) in [
        (Suite::AesCm128HmacSha1_80, 2),
        (Suite::AesCm128HmacSha1_80, 7),
        (Suite::AeadAes256Gcm, 7),
    ] {
        let mut world = World::new();
        let before = keys(suite, None);
        let (mut ann, bob) = room(&mut world, &before);
        let mut heard = Vec::new();
        for round in 0..1200 {
            if round == 700 {
                let after = SrtpMedia {
                    receive: key(suite, next),
                    ..before.clone()
                };
                let again = LegMedia {
                    srtp: Some(after.clone()),
                    ..media(0)
                };
                world.command(renegotiate(ann.phone.leg, &again));
            }
            if round == 705 && next != 2 {
                // The answer has arrived: from now on the new key. Its rollover counter begins anew, as many have it.
                ann.protector = Protector::new(&key(suite, next), None);
            }
            ann.speak(&world, A);
            world.turns(4);
            heard.extend(world.audio(&bob));
            ann.audio(&world);
        }
        assert_eq!(heard.len(), 1200);
        assert!(
            heard[3..].iter().all(|packet| packet.level() == A),
            "{suite:?} {next}"
        );
        assert_eq!(world.metrics().dropped.iter().sum::<u64>(), 0);
    }
}

#[test]
fn a_leg_goes_from_plain_to_secured_and_back() {
    let mut world = World::new();
    let keys = keys(Suite::AesCm128HmacSha1_80, None);
    let (mut ann, bob) = room(&mut world, &keys);
    for secured in [true, false, true] {
        let again = LegMedia {
            srtp: secured.then(|| keys.clone()),
            ..media(0)
        };
        world.command(renegotiate(ann.phone.leg, &again));
        let (phone, sequence) = (ann.phone, ann.phone.sequence);
        ann = Secured::new(phone, &keys);
        ann.phone.sequence = sequence;
        world.turns(4);
        world.forget();
        for _ in 0..50 {
            if secured {
                ann.speak(&world, A);
            } else {
                world.speak(&mut ann.phone, &steady(A));
            }
            world.turns(4);
        }
        let heard = world.audio(&bob);
        assert!(heard[5..].iter().all(|packet| packet.level() == A), "{secured}");
        if secured {
            assert_eq!(ann.audio(&world).len(), 50);
        } else {
            assert_eq!(world.audio(&ann.phone).len(), 50);
        }
    }
}

#[test]
fn security_allocates_nothing() {
    for suite in Suite::ALL {
        let mut world = World::new();
        let (mut ann, _) = room(&mut world, &keys(suite, None));
        for round in 0..400 {
            ann.speak(&world, A);
            let damaged = [ann.sent.as_slice(), &[1]].concat();
            world.deliver(&ann.phone, Channel::Rtp, ann.phone.address, &damaged, MS);
            let before = calls();
            world.turns(4);
            assert!(round < 10 || calls() == before, "{suite:?} {round}");
        }
    }
}
