//! Which streams are secured, by whose keys, and what is refused.

use std::sync::Arc;

use confab_sdp::{
    Capabilities, LocalKeys, LocalMedia, Negotiated, Negotiation, SdpError, SessionDescription, SrtpPolicy,
};

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const OTHER: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

fn side(policy: SrtpPolicy, octet: u8) -> Negotiation {
    let local = LocalMedia {
        address: "192.0.2.1".parse().expect("an address"),
        port: 16_384,
        rtcp_port: 16_385,
    };
    let random = std::array::from_fn(|at| octet.wrapping_add((at % 41) as u8));
    let capabilities = Capabilities {
        srtp: policy,
        ..Capabilities::default()
    };
    Negotiation::new(Arc::new(capabilities), local, 7).with_keys(LocalKeys::new(&random))
}

fn offer(lines: &str) -> SessionDescription {
    let text = format!("v=0\r\no=- 7 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{lines}");
    SessionDescription::parse(text.as_bytes()).expect("an offer")
}

fn answered(policy: SrtpPolicy, lines: &str) -> Result<Negotiated, SdpError> {
    side(policy, 1).answer(&offer(lines))
}

#[test]
fn an_offer_is_answered_by_the_first_line_that_is_known() {
    let lines = format!(
        "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\r\na=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^20|1:4\r\n\
         a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"
    );
    for policy in [SrtpPolicy::Accept, SrtpPolicy::Offer, SrtpPolicy::Require] {
        let agreed = answered(policy, &lines).expect("agreed");
        let keys = agreed.audio.srtp.expect("keys");
        assert_eq!(keys.receive.suite().name(), "AES_CM_128_HMAC_SHA1_32");
        assert_eq!(keys.receive.suite(), keys.send.suite());
        assert_ne!(keys.receive, keys.send);
        assert_eq!(keys.receive_mki.expect("an identifier").as_bytes(), [0, 0, 0, 1]);
        let text = agreed.description.to_string();
        assert!(text.contains("m=audio 16384 RTP/SAVP 0\r\n"), "{text}");
        assert_eq!(text.matches("a=crypto:").count(), 1);
        assert!(
            text.contains("a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:"),
            "{text}"
        );
    }
}

#[test]
fn keys_beside_rtp_avp_are_taken_and_a_stream_with_keys_before_one_without() {
    let beside = format!("m=audio 4000 RTP/AVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let agreed = answered(SrtpPolicy::Accept, &beside).expect("agreed");
    assert!(agreed.audio.srtp.is_some());
    assert!(agreed.description.to_string().contains("RTP/AVP 0\r\n"));

    let twice = format!(
        "m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"
    );
    let agreed = answered(SrtpPolicy::Accept, &twice).expect("agreed");
    assert_eq!(agreed.audio.media_index, 1);
    let agreed = answered(SrtpPolicy::Off, &twice).expect("agreed");
    assert_eq!((agreed.audio.media_index, agreed.audio.srtp), (0, None));
}

#[test]
fn what_has_to_be_secured_and_cannot_is_refused() {
    let unknown = format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    for policy in [SrtpPolicy::Accept, SrtpPolicy::Require] {
        assert_eq!(answered(policy, &unknown), Err(SdpError::NotSecured));
        assert_eq!(
            answered(policy, "m=audio 4000 RTP/SAVPF 0\r\n"),
            Err(SdpError::NotSecured)
        );
    }
    assert_eq!(
        answered(SrtpPolicy::Require, "m=audio 4000 RTP/AVP 0\r\n"),
        Err(SdpError::NotSecured)
    );
    assert!(
        answered(SrtpPolicy::Accept, "m=audio 4000 RTP/AVP 0\r\n")
            .expect("plain")
            .audio
            .srtp
            .is_none()
    );
    assert!(matches!(
        answered(SrtpPolicy::Off, &unknown),
        Err(SdpError::Protocol { .. })
    ));
    assert!(matches!(
        answered(SrtpPolicy::Require, "m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n"),
        Err(SdpError::Protocol { .. })
    ));
    assert_eq!(SdpError::NotSecured.status(), 488);
}

#[test]
fn two_of_us_agree_on_each_others_keys() {
    use SrtpPolicy::{Accept, Off, Offer, Require};
    // Who offers, who answers, whether both agree, whether on keys.
    let rows = [
        (Off, Off, true, false),
        (Off, Offer, true, false),
        (Off, Require, false, false),
        (Accept, Accept, true, false),
        (Accept, Require, false, false),
        (Offer, Off, true, false),
        (Offer, Accept, true, true),
        (Offer, Require, true, true),
        (Require, Off, false, false),
        (Require, Accept, true, true),
        (Require, Require, true, true),
    ];
    for (offering, answering, agree, secured) in rows {
        let (mut caller, mut callee) = (side(offering, 1), side(answering, 101));
        let there = callee.answer(&caller.offer());
        assert_eq!(there.is_ok(), agree, "{offering:?} {answering:?}");
        let Ok(there) = there else { continue };
        let back = caller.accept_answer(&there.description).expect("agreed");
        assert_eq!(back.audio.srtp.is_some(), secured, "{offering:?} {answering:?}");
        assert_eq!(there.audio.srtp.is_some(), secured);
        if let (Some(theirs), Some(ours)) = (there.audio.srtp, back.audio.srtp) {
            assert_eq!((&theirs.send, &theirs.receive), (&ours.receive, &ours.send));
        }
        // A further offer, from either side, keeps what was agreed on, with the same keys.
        let before = caller.audio().cloned().expect("agreed");
        let again = caller.answer(&callee.offer()).expect("agreed again");
        assert_eq!(again.audio.srtp.is_some(), secured, "{offering:?} {answering:?}");
        assert_eq!(
            again.audio.srtp.map(|keys| keys.send),
            before.srtp.map(|keys| keys.send).filter(|_| secured)
        );
    }
}

#[test]
fn an_answer_that_names_another_line_is_refused() {
    let mut caller = side(SrtpPolicy::Require, 1);
    let ours = caller.offer().to_string();
    assert_eq!(ours.matches("a=crypto:").count(), 6, "{ours}");
    for lines in [
        format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{OTHER}\r\n"),
        format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{OTHER}\r\n"),
        "m=audio 4000 RTP/SAVP 0\r\n".to_owned(),
        "m=audio 4000 RTP/AVP 0\r\n".to_owned(),
    ] {
        caller.offer();
        assert_eq!(
            caller.accept_answer(&offer(&lines)),
            Err(SdpError::NotSecured),
            "{lines}"
        );
    }
    caller.offer();
    let lines = format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{OTHER}\r\n");
    assert!(caller.accept_answer(&offer(&lines)).is_ok());
}

#[test]
fn keys_do_not_show() {
    let keys = answered(
        SrtpPolicy::Accept,
        &format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"),
    )
    .expect("agreed")
    .audio
    .srtp;
    let shown = format!("{keys:?} {:?}", side(SrtpPolicy::Require, 9));
    assert!(!shown.contains("89, 83"), "{shown}");
    assert!(!shown.contains("[9, 10"), "{shown}");
}
