//! Comfort noise through the real server: offered by the phone, wanted by the configuration, sent when there is nothing to hear.

use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Invite, Phone};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine};
use confab_testkit::server::ServerBuilder;

const COMFORT_NOISE: u8 = 13;

/// Calls alone, offering comfort noise, and returns how many packets of audio and of noise came in two seconds.
fn heard_alone(silence_suppression: &str) -> (usize, usize) {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("media.silence_suppression", silence_suppression)
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let stream = engine.open(phone.local_addr().ip()).expect("a stream");
    let offer = AudioOffer::new(stream.local_addr());
    let description = offer
        .to_string()
        .replacen("RTP/AVP 0", "RTP/AVP 0 13", 1)
        .replacen("a=rtpmap:0 ", "a=rtpmap:13 CN/8000\r\na=rtpmap:0 ", 1);
    assert!(description.contains("RTP/AVP 0 13"), "{description}");
    let invite = Invite {
        description: Some(description),
        ..Invite::to("3000", &offer)
    };
    stream.set_capture(CaptureMode::Full);
    let call = phone.invite(invite).expect("sent");
    let remote = call.wait_answer(Duration::from_secs(20)).expect("answered");
    let agreed = remote.payload_types.contains(&COMFORT_NOISE);
    assert_eq!(agreed, silence_suppression == "true", "{remote:?}");
    std::thread::sleep(Duration::from_millis(2500));
    let capture = stream.take_capture();
    let noise = |of: bool| {
        let packets = capture.packets().iter();
        packets
            .filter(|packet| (packet.payload_type == COMFORT_NOISE) == of)
            .count()
    };
    call.bye(Duration::from_secs(10)).expect("ended");
    (noise(false), noise(true))
}

#[test]
fn silence_is_described_to_a_phone_that_knows_comfort_noise_when_that_is_switched_on() {
    let (audio, noise) = heard_alone("true");
    assert!(audio <= 3 && (2..=4).contains(&noise), "{audio} {noise}");
    let (audio, noise) = heard_alone("false");
    assert!(audio > 80 && noise == 0, "{audio} {noise}");
}
