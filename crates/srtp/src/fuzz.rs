//! What the fuzz target `srtp` runs: nothing that is received without the key may panic, pass, or stand in the way of what is authentic.

use crate::key::{MasterKey, Mki};
use crate::protect::Protector;
use crate::suite::Suite;
use crate::unprotect::Unprotector;

/// Runs one input: its first octet chooses suite and MKI, the rest is received in pieces, each as RTP and as RTCP, between packets that are
/// authentic.
///
/// # Panics
/// When a rule is broken.
pub fn fuzz_srtp(input: &[u8]) {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let suite = Suite::ALL[usize::from(choice) % Suite::ALL.len()];
    let mki = (choice & 0x80 != 0).then(|| Mki::new(&[choice, 1])).flatten();
    let key = MasterKey::new(suite, &vec![choice; suite.key_len() + suite.salt_len()])
        .expect("as long as it has to be");
    let mut protector = Protector::new(&key, mki);
    let mut unprotector = Unprotector::new(&key, mki);
    let mut sequence_number = u16::from(choice) << 8;
    for piece in rest.chunks(usize::from(choice % 97) + 1) {
        let mut packet = piece.to_vec();
        assert!(
            unprotector.unprotect_rtp(&mut packet).is_err(),
            "nobody without the key is let through"
        );
        let mut packet = piece.to_vec();
        assert!(
            unprotector.unprotect_rtcp(&mut packet).is_err(),
            "nobody without the key is let through"
        );

        let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        packet[2..4].copy_from_slice(&sequence_number.to_be_bytes());
        packet.extend_from_slice(piece);
        let plain = packet.clone();
        packet.resize(plain.len() + protector.rtp_overhead(), 0);
        protector.protect_rtp(&mut packet, plain.len()).expect("a packet");
        let length = unprotector.unprotect_rtp(&mut packet).expect("authentic");
        assert_eq!(packet[..length], plain);
        sequence_number = sequence_number.wrapping_add(1);

        let mut report = [&[0x80, 200, 0, 1, 0, 0, 0, 7], piece].concat();
        let plain = report.clone();
        report.resize(plain.len() + protector.rtcp_overhead(), 0);
        protector
            .protect_rtcp(&mut report, plain.len())
            .expect("a packet");
        let length = unprotector.unprotect_rtcp(&mut report).expect("authentic");
        assert_eq!(report[..length], plain);
    }
}
