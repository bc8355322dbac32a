//! The property that fuzzing and property tests hold against arbitrary bytes. It belongs to the normal build so
//! that a change of the interface cannot silently break the fuzz target.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::capabilities::Capabilities;
use crate::crypto::{LocalKeys, SrtpPolicy};
use crate::description::SessionDescription;
use crate::negotiation::Negotiation;
use crate::stream::LocalMedia;

/// Parses `body` and negotiates with it from every side.
///
/// # Panics
/// When a promise is broken: a description does not survive printing and parsing, an answer has other streams than
/// its offer or is not readable, or an agreed packet time is out of range.
pub fn fuzz_sdp(body: &[u8]) {
    let Ok(theirs) = SessionDescription::parse(body) else {
        return;
    };
    let printed = theirs.to_string();
    if printed.len() <= crate::MAX_BYTES {
        let again = SessionDescription::parse(printed.as_bytes());
        assert_eq!(
            again.as_ref(),
            Ok(&theirs),
            "printing and parsing changes nothing"
        );
    }
    for (address, srtp) in [
        (IpAddr::V4(Ipv4Addr::LOCALHOST), SrtpPolicy::Off),
        (IpAddr::V4(Ipv4Addr::LOCALHOST), SrtpPolicy::Accept),
        (IpAddr::V6(Ipv6Addr::LOCALHOST), SrtpPolicy::Require),
    ] {
        let local = LocalMedia {
            address,
            port: 16384,
            rtcp_port: 16385,
        };
        let capabilities = Capabilities {
            srtp,
            ..Capabilities::default()
        };
        let keys = LocalKeys::new(&[7; LocalKeys::OCTETS]);
        let mut negotiation = Negotiation::new(Arc::new(capabilities), local, 1).with_keys(keys);
        match negotiation.answer(&theirs) {
            Ok(agreed) => {
                let ours = &agreed.description;
                assert_eq!(ours.media.len(), theirs.media.len(), "as many streams as offered");
                assert!((10..=60).contains(&agreed.audio.ptime_ms), "packet time in range");
                let secured = agreed.audio.srtp.is_some();
                assert!(
                    secured || srtp != SrtpPolicy::Require,
                    "secured when it has to be"
                );
                assert!(
                    !secured || srtp != SrtpPolicy::Off,
                    "not secured when it must not be"
                );
                let printed = ours.to_string();
                if printed.len() <= crate::MAX_BYTES {
                    let read = SessionDescription::parse(printed.as_bytes());
                    assert_eq!(read.as_ref(), Ok(ours), "our answer is readable");
                }
            }
            Err(error) => assert!(error.warning("host").is_ascii(), "the warning fits a header"),
        }
        let offer = negotiation.offer();
        assert!(offer.media.len() >= 1.max(negotiation.audio().map_or(0, |_| theirs.media.len())));
        let _ = negotiation.accept_answer(&theirs);
        let _ = negotiation.answer(&theirs);
    }
}
