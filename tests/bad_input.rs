//! Whatever the network sends: a proper error or a counted drop, never a crash, a leak or somebody else's audio.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Invite, OutOfDialog, Participant, Phone, SipMessage};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::random::SeededRandom;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, RtpView, Source};
use confab_testkit::server::{HttpClient, Server, ServerBuilder};
use serde_json::json;

const WAIT: Duration = Duration::from_secs(10);

fn start() -> Server {
    ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started")
}

#[track_caller]
fn assert_alive(server: &Server) {
    let phone = Phone::udp(server.sip).expect("a phone");
    let answer = phone
        .request(OutOfDialog::new("OPTIONS"), WAIT)
        .expect("answered");
    // 503: the lateness guard of a server whose machine has just stalled.
    assert!(matches!(answer.status(), Some(200 | 503)), "{answer}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

fn invite_bytes(server: &Server, body: &str) -> Vec<u8> {
    SipMessage::request("INVITE", &format!("sip:3000@{}", server.sip))
        .with("Via", "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKseed")
        .with("From", "<sip:fuzz@127.0.0.1>;tag=1")
        .with("To", "<sip:3000@127.0.0.1>")
        .with("Call-ID", "seed")
        .with("CSeq", "1 INVITE")
        .with("Contact", "<sip:fuzz@127.0.0.1:9>")
        .with("Max-Forwards", 70)
        .with_body("application/sdp", body)
        .to_bytes()
}

#[test]
fn garbage_on_the_sip_port_is_dropped_and_counted() {
    let server = start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut random = SeededRandom::new(20_261_122);
    let seed = invite_bytes(
        &server,
        &AudioOffer::new("127.0.0.1:40000".parse().expect("an address")).to_string(),
    );
    for round in 0..4000u64 {
        let length = random.below(1400) as usize;
        let datagram: Vec<u8> = match round % 4 {
            0 => (0..length).map(|_| random.next_u32() as u8).collect(),
            1 => seed[..(random.below(seed.len() as u64) as usize)].to_vec(),
            2 => (0..length)
                .map(|_| b"\r\n:;<>@= INVITESIP/2.0"[random.below(22) as usize])
                .collect(),
            _ => {
                // One byte of a good INVITE changed anywhere but in the Via, whose address would otherwise get the answers.
                let mut bytes = seed.clone();
                let place = 150 + random.below(bytes.len() as u64 - 150) as usize;
                bytes[place] = random.next_u32() as u8;
                bytes
            }
        };
        socket.send_to(&datagram, server.sip).expect("sent");
        if round % 200 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_alive(&server);
    let dropped = server.metrics().expect("metrics").sum("confab_sip_dropped_total");
    assert!(dropped.is_some_and(|count| count > 500.0), "{dropped:?}");
}

#[test]
fn each_fault_of_a_request_has_its_own_answer() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let uri = format!("sip:3000@{}", server.sip);
    let invite = |kind: &str, body: &str| OutOfDialog {
        uri: Some(uri.clone()),
        body: Some((kind.to_owned(), body.as_bytes().to_vec())),
        ..OutOfDialog::new("INVITE")
    };
    let description = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let good = description.to_string();
    let no_codec = good
        .replace("RTP/AVP 0 8 101", "RTP/AVP 96")
        .replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:96 NOISE/8000");
    let no_audio =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 99\r\n";
    let rows = [
        (
            "no session description at all",
            invite("application/sdp", "this is no SDP"),
            vec![400, 488],
        ),
        ("no usable codec", invite("application/sdp", &no_codec), vec![488]),
        ("no audio", invite("application/sdp", no_audio), vec![488]),
        ("a body of another type", invite("text/plain", "hello"), vec![415]),
        (
            "an unknown scheme",
            OutOfDialog {
                uri: Some("mailto:3000@x".into()),
                ..OutOfDialog::new("INVITE")
            },
            vec![416],
        ),
        (
            "a required extension",
            OutOfDialog::new("OPTIONS").header("Require", "magic"),
            vec![420],
        ),
        (
            "no more hops",
            OutOfDialog::new("OPTIONS").header("Max-Forwards", "0"),
            vec![200, 400, 483],
        ),
    ];
    for (fault, request, allowed) in rows {
        let response = phone
            .request(request, WAIT)
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert!(
            response.status().is_some_and(|status| allowed.contains(&status)),
            "{fault}: {}",
            response.start_line
        );
    }
    for (fault, change, status) in [
        ("an unknown version", ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
        ("a broken CSeq", ("CSeq: 1 INVITE", "CSeq: one INVITE"), 400),
        ("another method in CSeq", ("CSeq: 1 INVITE", "CSeq: 1 BYE"), 400),
        (
            "two different lengths",
            ("Max-Forwards: 70", "Content-Length: 3"),
            400,
        ),
    ] {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(WAIT)).expect("a timeout");
        let me = socket.local_addr().expect("an address").to_string();
        let text = String::from_utf8(invite_bytes(&server, &good)).expect("text");
        let text = text
            .replace("127.0.0.1:9;", &format!("{me};rport;"))
            .replace(change.0, change.1);
        socket.send_to(text.as_bytes(), server.sip).expect("sent");
        let mut buffer = [0; 4096];
        let (length, _) = socket
            .recv_from(&mut buffer)
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        let response = SipMessage::parse(&buffer[..length]).expect("a message");
        assert_eq!(
            response.status(),
            Some(status),
            "{fault}: {}",
            response.start_line
        );
    }
    assert_alive(&server);
}

#[test]
fn tcp_peers_that_misbehave_are_cut_off_and_do_not_disturb_others() {
    let server = start();
    let connect = || TcpStream::connect(server.sip).expect("connected");
    let head = "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x>\r\n\
        Call-ID: big\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";
    let mut slow: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
    slow.iter_mut()
        .for_each(|stream| stream.write_all(b"OPTIONS sip:x SI").expect("sent"));

    for (fault, length) in [
        ("over 64 KB", "70000"),
        ("a huge length", "18446744073709551615"),
        ("a broken length", "12x"),
    ] {
        let mut stream = connect();
        stream.set_read_timeout(Some(WAIT)).expect("a timeout");
        stream
            .write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())
            .expect("sent");
        // The server may close before it has read all of this.
        let _ = stream.write_all(&vec![b'x'; 70_000]);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let response = SipMessage::parse(&answer);
        let status = response.as_ref().and_then(SipMessage::status);
        assert!(matches!(status, None | Some(400 | 513)), "{fault}: {response:?}");
    }
    let mut endless = connect();
    endless.set_write_timeout(Some(WAIT)).expect("a timeout");
    endless.set_read_timeout(Some(WAIT)).expect("a timeout");
    let flood = vec![b'a'; 64 * 1024];
    // Not more than the buffers of both sides take in any case, so that the end is the server's doing.
    let _ = (0..64).take_while(|_| endless.write_all(&flood).is_ok()).count();
    let mut answer = Vec::new();
    let end = endless.read_to_end(&mut answer);
    assert!(
        !matches!(&end, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "a header without end has to end the connection"
    );

    let phone = Phone::tcp(server.sip).expect("a phone");
    assert_eq!(
        phone
            .request(OutOfDialog::new("OPTIONS"), WAIT)
            .expect("answered")
            .status(),
        Some(200)
    );
    phone.send_raw(b"\r\n\r\n").expect("sent");
    assert_eq!(
        phone
            .request(OutOfDialog::new("OPTIONS"), WAIT)
            .expect("answered")
            .status(),
        Some(200)
    );
    drop(slow);
    assert_alive(&server);
}

#[test]
fn spoofed_and_broken_rtp_does_not_reach_the_conference() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let tone = Source::tone(Law::Mu, 1003.7, -20.0);
    let talker = Participant::join(&phone, &engine, "3000", Some(tone.clone())).expect("joined");
    let listener =
        Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu))).expect("joined");
    std::thread::sleep(Duration::from_millis(800));
    let before = server.metrics().expect("metrics");
    listener.stream.set_capture(CaptureMode::Full);

    let loud = [Law::Mu.encode(20_000); 160];
    let attackers: Vec<UdpSocket> = ["127.0.0.1:0", "127.0.0.2:0", "127.66.0.1:0"]
        .iter()
        .map(|a| UdpSocket::bind(a).expect("a socket"))
        .collect();
    let target: SocketAddr = talker.remote.address;
    let mut random = SeededRandom::new(99);
    let mut packet = Vec::new();
    for round in 0..100u16 {
        for (number, attacker) in attackers.iter().enumerate() {
            // The last attacker even knows the SSRC; none has the talker's address.
            let ssrc = if number == 2 {
                talker.stream.ssrc()
            } else {
                number as u32 + 7
            };
            let view = RtpView {
                marker: false,
                payload_type: 0,
                sequence: round,
                timestamp: u32::from(round) * 160,
                ssrc,
                payload: &loud,
            };
            view.write(&mut packet);
            attacker.send_to(&packet, target).expect("sent");
            let garbage: Vec<u8> = (0..random.below(400)).map(|_| random.next_u32() as u8).collect();
            attacker.send_to(&garbage, target).expect("sent");
            attacker
                .send_to(&garbage, (target.ip(), target.port() + 1))
                .expect("sent");
        }
        // The talker's own socket sends nonsense too: version, payload type and length wrong.
        for bytes in [
            &[][..],
            &[0x80],
            &[0x00; 12],
            &[0x80, 99, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 4, 5],
        ] {
            talker.stream.send_raw(bytes, target).expect("sent");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let heard = listener.stream.take_capture();
    let levels: Vec<f64> = heard
        .packets()
        .iter()
        .map(|packet| meter::rms_dbfs(&heard.decode(packet)))
        .collect();
    let loud = levels.iter().filter(|level| **level > -18.0).count();
    let weak = levels.iter().filter(|level| **level < -22.0).count();
    println!(
        "{} packets heard, {loud} louder and {weak} weaker than the tone; {:?}",
        levels.len(),
        meter::compare(&tone.decoded().repeat(2), &heard.samples(), 800)
    );
    assert!(levels.len() >= 45, "only {} packets", levels.len());
    assert_eq!(loud, 0, "the attackers are heard");
    // A machine that stalls may cost a frame; a stream that is held up or replaced loses many.
    assert!(weak <= levels.len() / 20, "the tone was disturbed");
    let dropped = |m: &confab_testkit::server::Metrics| m.sum("confab_rtp_dropped_total").unwrap_or(0.0);
    let counted = dropped(&server.metrics().expect("metrics")) - dropped(&before);
    assert!(
        counted >= 500.0,
        "{counted} drops counted of more than 1,000 bad packets"
    );
    let heard: u64 = attackers.iter().map(received).sum();
    assert_eq!(heard, 0, "an attacker got audio");
    talker.leave().expect("left");
    listener.leave().expect("left");
    assert_alive(&server);
}

fn received(socket: &UdpSocket) -> u64 {
    socket.set_nonblocking(true).expect("non-blocking");
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv_from(&mut buffer).ok()).count() as u64
}

#[test]
fn http_faults_have_their_contract_answers() {
    let server = start();
    let api = server.api().expect("a login");
    let anonymous = HttpClient::anonymous(server.http);
    let list = |client: &HttpClient| {
        client
            .account("GET", "/conferences", None)
            .expect("answered")
            .status
    };
    assert_eq!(list(&api), 200);
    let unauthorised = anonymous.request(
        "GET",
        "/v2/accounts/00112233445566778899aabbccddeeff/conferences",
        None,
    );
    assert_eq!(unauthorised.expect("answered").status, 401);
    let raw = |method: &str, path: &str, kind: &str, body: &[u8]| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            api.token().unwrap_or_default(),
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        api.raw(&bytes).expect("answered").status
    };
    let conferences = "/v2/accounts/00112233445566778899aabbccddeeff/conferences";
    assert_eq!(
        raw("PUT", conferences, "application/json", b"{\"data\":"),
        400,
        "broken JSON"
    );
    assert_eq!(
        raw(
            "PUT",
            conferences,
            "application/json",
            b"{\"data\":{\"member\":{\"pins\":[\"12ab\"]}}}"
        ),
        400,
        "bad pin"
    );
    assert_eq!(raw("PUT", conferences, "image/png", b"\x89PNG"), 415, "a picture");
    assert_eq!(
        raw("PATCH", conferences, "application/json", b"{}"),
        405,
        "no such method here"
    );
    assert_eq!(
        raw("GET", "/v2/nothing", "application/json", b""),
        404,
        "no such path"
    );
    assert_eq!(
        raw(
            "GET",
            &format!("{conferences}/ffffffffffffffffffffffffffffffff"),
            "application/json",
            b""
        ),
        404
    );
    let mut huge = b"{\"data\":{\"name\":\"".to_vec();
    huge.resize(8_000_100, b'x');
    huge.extend_from_slice(b"\"}}");
    assert_eq!(
        raw("PUT", conferences, "application/json", &huge),
        413,
        "too large"
    );
    let unknown = json!({"data": {"action": "levitate"}});
    let created = confab_testkit::server::ConferenceControl::of_number(api.clone(), "3000").expect("listed");
    let answer = api
        .account("PUT", &format!("/conferences/{}", created.id()), Some(&unknown))
        .expect("answered");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_alive(&server);
}

#[test]
fn a_flood_of_invites_is_answered_or_refused_and_passes() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.max_calls", "20")
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let calls: Vec<_> = (0..300)
        .map(|_| phone.invite(Invite::to("3000", &offer)).expect("sent"))
        .collect();
    let (mut admitted, mut refused) = (Vec::new(), 0);
    for call in &calls {
        match call.wait_final(WAIT).expect("a final response").status() {
            Some(200) => admitted.push(call),
            Some(503) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted.len() + refused, 300, "everybody has an answer");
    assert!(
        (1..=20).contains(&admitted.len()),
        "{} admitted, 20 allowed",
        admitted.len()
    );
    admitted
        .iter()
        .for_each(|call| drop(call.bye(WAIT).expect("ended")));
    server
        .wait_metrics(WAIT, |m| m.sum("confab_legs") == Some(0.0))
        .expect("no leg is left");
    assert_alive(&server);
}
