//! RTCP between a participant and the server: reports while the call lasts, a goodbye at its end.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::ServerBuilder;

const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;

/// Cuts a compound packet into its packets (RFC 3550 §6.1): type and content after the common header.
fn packets(mut compound: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let [first, kind, high, low, ..] = compound {
        assert_eq!(first >> 6, 2, "version");
        let length = 4 * (usize::from(u16::from_be_bytes([*high, *low])) + 1);
        assert!(length <= compound.len(), "a length beyond the datagram");
        packets.push((*kind, compound[4..length].to_vec()));
        compound = &compound[length..];
    }
    packets
}

fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_be_bytes(bytes[4 * index..4 * index + 4].try_into().expect("four bytes"))
}

#[test]
fn reports_describe_both_directions_and_the_end_is_announced() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let (participant, reports) = loop {
        let source = Source::tone(Law::Mu, 440.0, -20.0);
        let participant = Participant::join(&phone, &engine, "3000", Some(source)).expect("joined");
        let address = participant.stream.local_addr();
        match UdpSocket::bind((address.ip(), address.port() + 1)) {
            Ok(socket) => break (participant, socket),
            // Somebody else has the port for RTCP: try with another pair.
            Err(_) => participant.leave().expect("left"),
        }
    };
    participant.stream.set_capture(CaptureMode::Full);
    reports
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let mut buffer = [0; 1500];
    let started = Instant::now();
    let (length, from) = reports.recv_from(&mut buffer).expect("a report");
    println!("first report after {:?}", started.elapsed());
    assert_eq!(
        from.port(),
        participant.remote.address.port() + 1,
        "RTCP has the next port"
    );
    let first = packets(&buffer[..length]);
    assert_eq!(
        first[0].0, SENDER_REPORT,
        "a compound packet begins with a report"
    );
    assert!(
        first.iter().any(|(kind, _)| *kind == SOURCE_DESCRIPTION),
        "and names its source"
    );

    // The first report may come before there is anything to describe: look at a later one.
    let (length, _) = reports.recv_from(&mut buffer).expect("a second report");
    let compound = packets(&buffer[..length]);
    let report = &compound[0].1;
    let capture = participant.stream.take_capture();
    let stream = capture.packets().last().expect("audio arrived");
    assert_eq!(
        word(report, 0),
        stream.ssrc,
        "the report is from the source of the audio"
    );
    let (timestamp, behind) = (word(report, 3), stream.timestamp);
    let apart = i64::from(behind.wrapping_sub(timestamp) as i32).abs();
    assert!(
        apart < 8000,
        "RTP time {timestamp} of the report against {behind} of the audio"
    );
    assert!(word(report, 4) > 0, "packets sent are counted");
    assert_eq!(
        word(report, 6),
        participant.stream.ssrc(),
        "the block is about our stream"
    );
    assert_eq!(word(report, 7), 0, "nothing was lost on loopback");

    participant.call.send_bye().expect("sent");
    reports
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    let mut goodbye = None;
    while let (None, Ok((length, _))) = (&goodbye, reports.recv_from(&mut buffer)) {
        goodbye = packets(&buffer[..length])
            .into_iter()
            .find(|(kind, _)| *kind == GOODBYE);
    }
    assert_eq!(
        goodbye.map(|(_, content)| word(&content, 0)),
        Some(stream.ssrc),
        "a goodbye from the same source"
    );
}
