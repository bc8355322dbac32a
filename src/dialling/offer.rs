//! What is offered to who is called: the codecs of his device in its order.
//!
//! Owns the names that devices have for codecs.

use confab_documents::{Account, Body};
use confab_sdp::{Capabilities, CodecCapability, SrtpPolicy};

use super::callee::Security;

/// Returns our capabilities with the codecs that a device names, in its order. Those that we lack are left out; when none is left, and for
/// who names none, it is all of ours but uncompressed audio: hardly anybody takes it, and an INVITE that names its rates is too long
/// for a datagram (RFC 3261 §18.1.1).
pub(super) fn ordered(own: &Capabilities, wanted: &[String]) -> Capabilities {
    let is_plain = |codec: &CodecCapability| codec.name.eq_ignore_ascii_case("L16");
    let named = |name: &String| {
        own.codecs
            .iter()
            .find(|codec| codec.name.eq_ignore_ascii_case(name))
    };
    let mut codecs: Vec<CodecCapability> = wanted.iter().filter_map(named).cloned().collect();
    if codecs.is_empty() {
        codecs = own
            .codecs
            .iter()
            .filter(|codec| !is_plain(codec))
            .cloned()
            .collect();
    }
    if codecs.is_empty() {
        codecs.clone_from(&own.codecs);
    }
    Capabilities {
        codecs,
        ..own.clone()
    }
}

/// Returns whether the media of a device are encrypted; `None` when it insists and this server does not do it (`media.srtp`).
pub(super) fn policy(own: SrtpPolicy, wanted: Security) -> Option<SrtpPolicy> {
    match (own, wanted) {
        (SrtpPolicy::Off, Security::Required) => None,
        (SrtpPolicy::Off | SrtpPolicy::Require, _) | (_, Security::Open) => Some(own),
        (_, Security::Required) => Some(SrtpPolicy::Require),
        (_, Security::Offered) => Some(SrtpPolicy::Offer),
    }
}

/// Returns our capabilities with uncompressed audio before all others, the highest rate first: what goes to ourselves costs no network.
pub(super) fn uncompressed(own: &Capabilities) -> Capabilities {
    let mut codecs = own.codecs.clone();
    codecs.sort_by_key(|codec| match codec.name.eq_ignore_ascii_case("L16") {
        true => (0, std::cmp::Reverse(codec.clock_rate)),
        false => (1, std::cmp::Reverse(0)),
    });
    Capabilities {
        codecs,
        ..own.clone()
    }
}

/// The language that who is called is spoken to in.
pub(super) fn language(conference: &Body, account: &Account) -> String {
    confab_documents::language(conference, Some(&account.language))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_offered_encryption_as_it_wants_it_and_this_server_does() {
        use SrtpPolicy::{Accept, Off, Offer, Require};
        for (own, open, offered, required) in [
            (Off, Some(Off), Some(Off), None),
            (Accept, Some(Accept), Some(Offer), Some(Require)),
            (Offer, Some(Offer), Some(Offer), Some(Require)),
            (Require, Some(Require), Some(Require), Some(Require)),
        ] {
            assert_eq!(policy(own, Security::Open), open);
            assert_eq!(policy(own, Security::Offered), offered);
            assert_eq!(policy(own, Security::Required), required);
        }
    }

    #[test]
    fn a_device_is_offered_its_codecs_in_its_order() {
        let own = Capabilities {
            codecs: vec![
                CodecCapability::opus(""),
                CodecCapability::g722(),
                CodecCapability::pcmu(),
                CodecCapability::pcma(),
                CodecCapability::l16(48_000),
            ],
            ..Capabilities::default()
        };
        for (wanted, expected) in [
            (&["PCMA", "G729", "OPUS"][..], &["PCMA", "opus"][..]),
            (&["G722"], &["G722"]),
            (&["GSM"], &["opus", "G722", "PCMU", "PCMA"]),
            (&[], &["opus", "G722", "PCMU", "PCMA"]),
        ] {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            let offered = ordered(&own, &wanted);
            let names: Vec<&str> = offered.codecs.iter().map(|codec| codec.name.as_str()).collect();
            assert_eq!(names, expected, "{wanted:?}");
        }
        let only = Capabilities {
            codecs: vec![CodecCapability::l16(16_000)],
            ..Capabilities::default()
        };
        assert_eq!(ordered(&only, &[]).codecs, only.codecs);
    }
}
