//! Streams over time, in every suite, with and without MKI: whole, wrapped, reordered, replayed, damaged, forged, under new keys.

use confab_srtp::{MasterKey, Mki, Protector, SrtpError, Suite, Unprotector};
use proptest::prelude::*;

const SSRC: u32 = 0xdead_beef;

fn key(suite: Suite, octet: u8) -> MasterKey {
    MasterKey::new(suite, &vec![octet; suite.key_len() + suite.salt_len()]).expect("as long as it has to be")
}

fn rtp(ssrc: u32, sequence_number: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn protected(protector: &mut Protector, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + protector.rtp_overhead(), 0);
    let length = protector
        .protect_rtp(&mut packet, plain.len())
        .expect("protected");
    assert_eq!(length, packet.len());
    packet
}

fn received(unprotector: &mut Unprotector, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = packet.to_vec();
    let length = unprotector.unprotect_rtp(&mut packet)?;
    Ok(packet[..length].to_vec())
}

fn mkis() -> [Option<Mki>; 3] {
    [None, Mki::new(&[1]), Mki::new(b"key 4")]
}

#[test]
fn a_stream_passes_over_three_wraps_of_its_sequence_numbers() {
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite, 3), None);
        let mut unprotector = Unprotector::new(&key(suite, 3), None);
        for number in (65_000_u32..65_536 * 3 + 70).step_by(97) {
            let plain = rtp(SSRC, number as u16, &number.to_be_bytes());
            let packet = protected(&mut protector, &plain);
            assert_ne!(packet[12..16], plain[12..16], "{suite:?}");
            assert_eq!(
                received(&mut unprotector, &packet),
                Ok(plain),
                "{suite:?} {number}"
            );
        }
    }
}

#[test]
fn what_came_already_does_not_come_again() {
    for suite in Suite::ALL {
        for mki in mkis() {
            let mut protector = Protector::new(&key(suite, 3), mki);
            let mut unprotector = Unprotector::new(&key(suite, 3), mki);
            let packets: Vec<_> = (0..400)
                .map(|number| protected(&mut protector, &rtp(SSRC, number, b"voice")))
                .collect();
            for at in [0, 2, 1, 130, 3, 129, 399] {
                assert!(received(&mut unprotector, &packets[at]).is_ok(), "{at}");
                assert_eq!(received(&mut unprotector, &packets[at]), Err(SrtpError::Replay));
            }
            assert_eq!(
                received(&mut unprotector, &packets[271]),
                Err(SrtpError::Replay),
                "too old"
            );
            assert!(received(&mut unprotector, &packets[272]).is_ok());
        }
    }
}

#[test]
fn a_stream_whose_first_packets_were_lost_across_a_wrap_is_found() {
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite, 3), None);
        let mut unprotector = Unprotector::new(&key(suite, 3), None);
        protected(&mut protector, &rtp(SSRC, 65_535, b"lost"));
        for number in 0..3 {
            let plain = rtp(SSRC, number, b"here");
            let packet = protected(&mut protector, &plain);
            assert_eq!(received(&mut unprotector, &packet), Ok(plain), "{suite:?}");
        }
    }
}

#[test]
fn a_stream_goes_on_under_a_new_key_whether_or_not_its_rollover_counter_does() {
    for suite in Suite::ALL {
        for keeps in [false, true] {
            let mut unprotector = Unprotector::new(&key(suite, 3), None);
            let mut protector = Protector::new(&key(suite, 3), None);
            let mut next = Protector::new(&key(suite, 4), None);
            for number in (0_u32..65_536 * 2).step_by(1000) {
                let plain = rtp(SSRC, number as u16, b"old");
                assert!(received(&mut unprotector, &protected(&mut protector, &plain)).is_ok());
                if keeps {
                    protected(&mut next, &plain);
                }
            }
            let mut after = Unprotector::new(&key(suite, 4), None);
            after.go_on_from(&unprotector);
            for number in 0..3 {
                let plain = rtp(SSRC, 100 + number, b"new");
                let packet = protected(&mut next, &plain);
                assert!(received(&mut unprotector, &packet).is_err());
                assert_eq!(received(&mut after, &packet), Ok(plain), "{suite:?} {keeps}");
            }
        }
    }
}

#[test]
fn a_key_of_another_suite_or_another_identifier_is_another_key() {
    for suite in Suite::ALL {
        let packet = protected(
            &mut Protector::new(&key(suite, 3), Mki::new(&[7])),
            &rtp(SSRC, 1, b"voice"),
        );
        let mut others: Vec<_> = Suite::ALL
            .into_iter()
            .filter(|other| *other != suite)
            .map(|other| Unprotector::new(&key(other, 3), Mki::new(&[7])))
            .collect();
        others.push(Unprotector::new(&key(suite, 3), Mki::new(&[8])));
        others.push(Unprotector::new(&key(suite, 3), Mki::new(&[7, 7])));
        others.push(Unprotector::new(&key(suite, 3), None));
        for other in &mut others {
            assert!(received(other, &packet).is_err(), "{suite:?} {other:?}");
        }
    }
}

#[test]
fn what_is_no_packet_or_has_no_room_is_not_protected() {
    let mut protector = Protector::new(&key(Suite::AesCm128HmacSha1_80, 3), None);
    let plain = rtp(SSRC, 1, b"voice");
    let mut buffer = plain.clone();
    buffer.resize(plain.len() + 9, 0);
    assert_eq!(
        protector.protect_rtp(&mut buffer, plain.len()),
        Err(SrtpError::NoRoom)
    );
    assert_eq!(protector.protect_rtp(&mut [0; 64], 20), Err(SrtpError::Malformed));
    assert_eq!(
        protector.protect_rtcp(&mut [0x80; 64], 7),
        Err(SrtpError::Malformed)
    );
    assert_eq!(protector.protect_rtcp(&mut [0x80; 21], 8), Err(SrtpError::NoRoom));
}

fn suites() -> impl Strategy<Value = Suite> {
    prop::sample::select(Suite::ALL.to_vec())
}

proptest! {
    #[test]
    fn one_wrong_bit_is_found(
        suite in suites(), with_mki in 0_usize..3, payload in prop::collection::vec(any::<u8>(), 0..300), bit in any::<prop::sample::Index>(),
    ) {
        let mki = mkis()[with_mki];
        let mut protector = Protector::new(&key(suite, 9), mki);
        let mut unprotector = Unprotector::new(&key(suite, 9), mki);
        let plain = rtp(SSRC, 77, &payload);
        let packet = protected(&mut protector, &plain);
        let mut damaged = packet.clone();
        let bit = bit.index(packet.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(received(&mut unprotector, &damaged).is_err());
        prop_assert_eq!(received(&mut unprotector, &packet), Ok(plain));
    }

    #[test]
    fn one_wrong_bit_of_a_report_is_found(
        suite in suites(), with_mki in 0_usize..3, body in prop::collection::vec(any::<u8>(), 0..120), bit in any::<prop::sample::Index>(),
    ) {
        let mki = mkis()[with_mki];
        let mut protector = Protector::new(&key(suite, 9), mki);
        let mut unprotector = Unprotector::new(&key(suite, 9), mki);
        let plain = [&[0x80, 201, 0, 1, 0, 0, 0, 5][..], &body].concat();
        let mut packet = plain.clone();
        packet.resize(plain.len() + protector.rtcp_overhead(), 0);
        protector.protect_rtcp(&mut packet, plain.len()).expect("protected");
        let mut damaged = packet.clone();
        let bit = bit.index(packet.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(unprotector.unprotect_rtcp(&mut damaged).is_err());
        let mut first = packet.clone();
        let length = unprotector.unprotect_rtcp(&mut first).expect("authentic");
        prop_assert_eq!(&first[..length], &plain[..]);
        prop_assert_eq!(unprotector.unprotect_rtcp(&mut packet), Err(SrtpError::Replay));
    }

    #[test]
    fn junk_harms_nothing(input in prop::collection::vec(any::<u8>(), 0..600)) {
        confab_srtp::fuzz_srtp(&input);
    }
}
