//! Arbitrary bytes as an RTCP datagram. Called by the fuzz target `rtcp` and by the property tests.

use super::{NtpTimestamp, ReceivedRtcp, RtcpWriter};
use crate::ids::Ssrc;
use crate::packet::is_rtcp;

/// Reads a compound, writes what was understood of it, and reads that again.
///
/// # Panics
/// When what was written reads differently.
pub fn fuzz_rtcp(data: &[u8]) {
    let ours = data.get(8..12).map_or(Ssrc(1), |octets| {
        Ssrc(octets.iter().fold(0, |n, &o| n << 8 | u32::from(o)))
    });
    let Ok(received) = ReceivedRtcp::parse(data, ours) else {
        return;
    };
    assert!(is_rtcp(data), "accepted what is not RTCP");
    let mut buffer = [0; 1024];
    let mut writer = RtcpWriter::new(&mut buffer);
    let blocks = received.report.as_slice();
    let written = match received.sender_report {
        Some((ssrc, info)) => writer.sender_report(ssrc, &info, blocks),
        None => writer.receiver_report(Ssrc(1), blocks),
    };
    assert!(written.is_ok(), "a report that fits was refused");
    let cname = received
        .cname
        .and_then(|(ssrc, text)| Some((ssrc, std::str::from_utf8(text).ok()?)));
    if let Some((ssrc, text)) = cname {
        assert!(writer.cname(ssrc, text).is_ok(), "a CNAME that fits was refused");
    }
    let reported = writer.extended_report(Ssrc(1), &received.extended);
    assert!(reported.is_ok(), "an extended report that fits was refused");
    for &ssrc in received.byes() {
        assert!(writer.bye(ssrc, "").is_ok(), "a BYE that fits was refused");
    }
    let again = ReceivedRtcp::parse(writer.finish(), ours);
    let again = again.unwrap_or_else(|error| panic!("refused what was written: {error}"));
    assert_eq!(again.sender_report, received.sender_report);
    assert_eq!(again.report, received.report);
    assert_eq!(again.extended, received.extended);
    if let Some(answer) = received.extended.delay_since_reference {
        let round_trip = answer.round_trip(NtpTimestamp(u64::from(answer.delay) << 16));
        assert!(
            round_trip.is_none_or(|time| time.as_secs() < 60),
            "an absurd round trip"
        );
    }
    assert_eq!(
        again.cname.map(|(ssrc, text)| (ssrc, text.to_vec())),
        cname.map(|(ssrc, text)| (ssrc, text.into()))
    );
    assert_eq!(again.byes(), received.byes());
}
