//! Reading and printing a SIP request of the size that phones send.

use bytes::Bytes;
use confab_sip::Message;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// An INVITE with an offer, 1 KB, as a desk phone behind a proxy sends it.
const INVITE: &str = concat!(
    "INVITE sip:3000@conference.example.com SIP/2.0\r\n",
    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-524287-1---d26f4e5c2f1b8a43;rport\r\n",
    "Via: SIP/2.0/UDP 10.1.7.20:5062;received=198.51.100.14;branch=z9hG4bK1b2c3d4e5f60718\r\n",
    "Record-Route: <sip:192.0.2.1;lr>\r\n",
    "Max-Forwards: 69\r\n",
    "Contact: \"Alice\" <sip:alice@198.51.100.14:5062;transport=udp;ob>;expires=3600\r\n",
    "To: <sip:3000@conference.example.com>\r\n",
    "From: \"Alice Example\" <sip:alice@conference.example.com>;tag=9fxced76sl\r\n",
    "Call-ID: 3848276298220188511@10.1.7.20\r\n",
    "CSeq: 1 INVITE\r\n",
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE\r\n",
    "Supported: replaces, norefersub, outbound\r\n",
    "User-Agent: Desk phone 1.2.3\r\n",
    "P-Asserted-Identity: \"Alice Example\" <sip:+15550100@example.com>\r\n",
    "Content-Type: application/sdp\r\n",
    "Content-Length: 218\r\n",
    "\r\n",
    "v=0\r\n",
    "o=alice 3724394400 3724394400 IN IP4 198.51.100.14\r\n",
    "s=call\r\n",
    "c=IN IP4 198.51.100.14\r\n",
    "t=0 0\r\n",
    "m=audio 40376 RTP/AVP 0 8 101\r\n",
    "a=rtpmap:0 PCMU/8000\r\n",
    "a=rtpmap:8 PCMA/8000\r\n",
    "a=rtpmap:101 telephone-event/8000\r\n",
    "a=sendrecv\r\n",
);

fn sip(criterion: &mut Criterion) {
    let datagram = Bytes::from_static(INVITE.as_bytes());
    let mut group = criterion.benchmark_group("sip");
    group.throughput(Throughput::Bytes(datagram.len() as u64));
    group.bench_function("parse INVITE", |bencher| {
        bencher.iter(|| Message::parse(datagram.clone()).expect("a valid INVITE"));
    });
    group.bench_function("parse INVITE and read what a dialog needs", |bencher| {
        bencher.iter(|| {
            let Ok(Message::Request(request)) = Message::parse(datagram.clone()) else {
                panic!("a valid INVITE")
            };
            let headers = &request.headers;
            (
                headers.top_via(),
                headers.from(),
                headers.to(),
                headers.call_id(),
                headers.cseq(),
                headers.contacts(),
            )
        });
    });
    let message = Message::parse(datagram.clone()).expect("a valid INVITE");
    group.bench_function("print INVITE", |bencher| bencher.iter(|| message.to_bytes()));
    group.finish();
}

criterion_group!(benches, sip);
criterion_main!(benches);
