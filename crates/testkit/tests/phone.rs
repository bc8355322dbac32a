//! The agent's SIP half against a scripted server on a plain socket.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use confab_testkit::agent::{
    AgentError, AudioOffer, Direction, Invite, OutOfDialog, Phone, RemoteAudio, SipMessage,
};

const WAIT: Duration = Duration::from_secs(5);

/// The other side: reads one message at a time and answers by hand.
struct Script {
    socket: UdpSocket,
    peer: Option<SocketAddr>,
}

impl Script {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(WAIT)).expect("a timeout");
        Self { socket, peer: None }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Reads until a message with this method (or any response, for the empty method) comes.
    fn expect(&mut self, method: &str) -> SipMessage {
        let mut buffer = [0; 4096];
        loop {
            let (length, peer) = self
                .socket
                .recv_from(&mut buffer)
                .unwrap_or_else(|e| panic!("no {method}: {e}"));
            self.peer = Some(peer);
            let message = SipMessage::parse(&buffer[..length]).expect("a message");
            if message.method().unwrap_or_default() == method {
                return message;
            }
        }
    }

    fn send(&self, message: &SipMessage) {
        self.socket
            .send_to(&message.to_bytes(), self.peer.expect("a peer"))
            .expect("sent");
    }

    fn answer(&self, request: &SipMessage, status: u16, description: Option<&AudioOffer>) {
        let mut response = SipMessage::response(request, status, "Scripted");
        for (name, value) in &mut response.headers {
            if name == "To" && !value.contains("tag=") && status > 100 {
                value.push_str(";tag=server");
            }
        }
        response = response.with("Contact", format!("<sip:focus@{}>;isfocus", self.address()));
        if let Some(description) = description {
            response = response.with_body("application/sdp", description.to_string());
        }
        self.send(&response);
    }
}

fn media() -> AudioOffer {
    AudioOffer::new("127.0.0.1:40000".parse().expect("an address"))
}

#[test]
fn a_call_is_answered_changed_and_ended() {
    let mut server = Script::new();
    let phone = Phone::udp(server.address()).expect("a phone");
    let call = phone
        .invite(Invite::to("3000", &media()).caller("4711", "Ann"))
        .expect("sent");
    let invite = server.expect("INVITE");
    assert_eq!(
        invite.start_line,
        format!("INVITE sip:3000@{} SIP/2.0", server.address())
    );
    assert!(
        invite
            .header("From")
            .is_some_and(|from| from.starts_with("\"Ann\" <sip:4711@"))
    );
    server.answer(&invite, 180, None);
    server.answer(&invite, 200, Some(&media()));
    call.wait_provisional(180, WAIT).expect("180");
    assert_eq!(call.wait_answer(WAIT).expect("answered").address.port(), 40_000);
    let ack = server.expect("ACK");
    assert_eq!(ack.tag("To"), Some("server"));
    assert_eq!(
        ack.start_line,
        format!("ACK sip:focus@{} SIP/2.0", server.address())
    );
    assert_ne!(
        ack.branch(),
        invite.branch(),
        "the ACK of a 2xx is its own transaction"
    );

    server.answer(&invite, 200, Some(&media()));
    assert_eq!(server.expect("ACK"), ack, "a repeated 200 gets the same ACK");
    assert_eq!(call.answers_seen(), 2);

    let hold = media().directed(Direction::SendOnly);
    let changed = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| call.reinvite(&hold, WAIT));
        let reinvite = server.expect("INVITE");
        assert_eq!(reinvite.cseq(), Some((2, "INVITE")));
        server.answer(&reinvite, 200, Some(&media().directed(Direction::RecvOnly)));
        waiting.join().expect("no panic").expect("answered")
    });
    assert_eq!(
        RemoteAudio::parse(&changed.body).expect("SDP").direction,
        Direction::RecvOnly
    );
    assert_eq!(server.expect("ACK").cseq(), Some((2, "ACK")));

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| call.bye(WAIT));
        let bye = server.expect("BYE");
        server.answer(&bye, 200, None);
        assert_eq!(
            waiting.join().expect("no panic").expect("answered").status(),
            Some(200)
        );
    });
}

#[test]
fn a_refusal_is_acknowledged_in_its_transaction() {
    let mut server = Script::new();
    let phone = Phone::udp(server.address()).expect("a phone");
    let call = phone.invite(Invite::to("9", &media())).expect("sent");
    let invite = server.expect("INVITE");
    server.answer(&invite, 480, None);
    assert!(matches!(call.wait_answer(WAIT), Err(AgentError::Refused(line)) if line.contains("480")));
    let ack = server.expect("ACK");
    assert_eq!((ack.branch(), ack.tag("To")), (invite.branch(), Some("server")));
}

#[test]
fn unanswered_requests_are_repeated_and_a_cancel_goes_with_its_invite() {
    let mut server = Script::new();
    let phone = Phone::udp(server.address()).expect("a phone");
    let call = phone.invite(Invite::to("3000", &media())).expect("sent");
    let invite = server.expect("INVITE");
    assert_eq!(server.expect("INVITE"), invite, "repeated after T1");
    server.answer(&invite, 100, None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| call.cancel(WAIT));
        let cancel = server.expect("CANCEL");
        assert_eq!(
            (cancel.branch(), cancel.cseq()),
            (invite.branch(), Some((1, "CANCEL")))
        );
        server.answer(&cancel, 200, None);
        assert_eq!(
            waiting.join().expect("no panic").expect("answered").status(),
            Some(200)
        );
    });
    server.answer(&invite, 487, None);
    assert_eq!(call.wait_final(WAIT).expect("a response").status(), Some(487));
}

#[test]
fn the_server_may_probe_and_end_the_call() {
    let mut server = Script::new();
    let phone = Phone::udp(server.address()).expect("a phone");
    let call = phone.invite(Invite::without_offer("3000")).expect("sent");
    let invite = server.expect("INVITE");
    assert!(invite.body.is_empty());
    server.answer(&invite, 200, Some(&media()));
    call.wait_answer(WAIT).expect("answered");
    call.ack(Some(&media())).expect("sent");
    assert!(!server.expect("ACK").body.is_empty());
    for (number, method) in ["OPTIONS", "BYE"].into_iter().enumerate() {
        let request = SipMessage::request(method, "sip:agent@x")
            .with(
                "Via",
                format!("SIP/2.0/UDP {};branch=z9hG4bK{number}", server.address()),
            )
            .with("From", "<sip:3000@x>;tag=server")
            .with("To", invite.header("From").unwrap_or_default())
            .with("Call-ID", call.call_id())
            .with("CSeq", format!("{} {method}", number + 1));
        server.send(&request);
        assert_eq!(server.expect("").status(), Some(200), "{method}");
        call.wait_request(method, WAIT).expect("noted");
    }
    assert!(call.ended_by_server());
}

#[test]
fn requests_outside_a_call_carry_what_the_test_wants() {
    let mut server = Script::new();
    let phone = Phone::udp(server.address()).expect("a phone");
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| phone.request(OutOfDialog::new("PUBLISH").header("Require", "magic"), WAIT));
        let request = server.expect("PUBLISH");
        assert_eq!(request.header("Require"), Some("magic"));
        server.answer(&request, 420, None);
        assert_eq!(
            waiting.join().expect("no panic").expect("answered").status(),
            Some(420)
        );
    });
}
