//! A second implementation (rtc-srtp) reads what we protect and makes what we read: RTP and RTCP, every suite, headers of all shapes, over wraps.

use confab_srtp::{MasterKey, Protector, Suite, Unprotector};
use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

fn profile(suite: Suite) -> ProtectionProfile {
    match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AesCm256HmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::AesCm256HmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    }
}

fn oracle(key: &MasterKey) -> Context {
    let (master, salt) = key.key_and_salt().split_at(key.suite().key_len());
    let provider = rtc_srtp::crypto::default_provider().expect("a provider");
    Context::new(master, salt, profile(key.suite()), None, None, provider.crypto()).expect("a context")
}

#[derive(Debug, Clone)]
struct Shape {
    sequence_number: u16,
    sources: u8,
    extension: Option<Vec<u32>>,
    payload: Vec<u8>,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let extension = prop::option::of(prop::collection::vec(any::<u32>(), 0..5));
    (
        any::<u16>(),
        0_u8..4,
        extension,
        prop::collection::vec(any::<u8>(), 1..400),
    )
        .prop_map(|(sequence_number, sources, extension, payload)| Shape {
            sequence_number,
            sources,
            extension,
            payload,
        })
}

fn packet(shape: &Shape, sequence_number: u16) -> Vec<u8> {
    let extended = u8::from(shape.extension.is_some());
    let mut packet = vec![0x80 | extended << 4 | shape.sources, 0x80 | 96];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend(u32::from(sequence_number).to_be_bytes());
    packet.extend(0xcafe_babe_u32.to_be_bytes());
    for source in 0..shape.sources {
        packet.extend(u32::from(source).to_be_bytes());
    }
    if let Some(words) = &shape.extension {
        packet.extend([0x12, 0x34]);
        packet.extend((words.len() as u16).to_be_bytes());
        packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }
    packet.extend(&shape.payload);
    packet
}

proptest! {
    #[test]
    fn both_say_the_same_of_rtp(
        suite in prop::sample::select(Suite::ALL.to_vec()), bytes in prop::collection::vec(any::<u8>(), 46), shape in shapes(), steps in prop::collection::vec(1_u16..20_000, 1..20),
    ) {
        let key = MasterKey::new(suite, &bytes[..suite.key_len() + suite.salt_len()]).expect("a key");
        let mut theirs = (oracle(&key), oracle(&key));
        let mut ours = (Protector::new(&key, None), Unprotector::new(&key, None));
        let mut sequence_number = shape.sequence_number;
        for step in steps {
            let plain = packet(&shape, sequence_number);
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + ours.0.rtp_overhead(), 0);
            ours.0.protect_rtp(&mut buffer, plain.len()).expect("protected");
            let expected = theirs.0.encrypt_rtp(&plain).expect("encrypted");
            prop_assert_eq!(&buffer[..], &expected[..]);
            prop_assert_eq!(&theirs.1.decrypt_rtp(&buffer).expect("decrypted")[..], &plain[..]);
            let length = ours.1.unprotect_rtp(&mut buffer).expect("let through");
            prop_assert_eq!(&buffer[..length], &plain[..]);
            sequence_number = sequence_number.wrapping_add(step);
        }
    }

    #[test]
    fn both_say_the_same_of_rtcp(
        suite in prop::sample::select(Suite::ALL.to_vec()), bytes in prop::collection::vec(any::<u8>(), 46), words in prop::collection::vec(any::<u32>(), 0..60),
    ) {
        let key = MasterKey::new(suite, &bytes[..suite.key_len() + suite.salt_len()]).expect("a key");
        let (mut there, mut back) = (oracle(&key), oracle(&key));
        let mut ours = (Protector::new(&key, None), Unprotector::new(&key, None));
        for _ in 0..3 {
            let mut plain = vec![0x80, 201];
            plain.extend((words.len() as u16 + 1).to_be_bytes());
            plain.extend([1, 2, 3, 4]);
            plain.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + ours.0.rtcp_overhead(), 0);
            ours.0.protect_rtcp(&mut buffer, plain.len()).expect("protected");
            prop_assert_eq!(&back.decrypt_rtcp(&buffer).expect("decrypted")[..], &plain[..]);
            let mut theirs = there.encrypt_rtcp(&plain).expect("encrypted").to_vec();
            let length = ours.1.unprotect_rtcp(&mut theirs).expect("let through");
            prop_assert_eq!(&theirs[..length], &plain[..]);
        }
    }
}
