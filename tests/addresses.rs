//! A server on a wildcard address of a machine with several: everything comes from the address that was asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Callee, Invite, OutOfDialog, Phone};
use confab_testkit::ports::PortLease;
use confab_testkit::server::ServerBuilder;
use serde_json::json;

const WAIT: Duration = Duration::from_secs(10);
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Not the address that the route to the caller has: that would be the caller's own.
const ASKED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Sends a packet of silence and waits for one from where it went; a connected socket hears nothing else.
fn hears_media(socket: &UdpSocket) -> bool {
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a timeout");
    let mut packet = [0xFFu8; 172];
    let mut heard = [0; 2048];
    let deadline = Instant::now() + WAIT;
    for sequence in 0u16.. {
        packet[..4].copy_from_slice(&[0x80, 0, sequence.to_be_bytes()[0], sequence.to_be_bytes()[1]]);
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        socket.send(&packet).expect("sent");
        if socket.recv(&mut heard).is_ok_and(|length| length > 12) {
            return true;
        }
        if Instant::now() > deadline {
            break;
        }
    }
    false
}

#[test]
fn a_whole_call_comes_from_the_address_that_was_called() {
    let lease = PortLease::take(2).expect("free ports");
    let port = lease.address(0).port();
    let mut server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.udp", &format!("[\"0.0.0.0:{port}\"]"))
        .set("sip.tcp", &format!("[\"0.0.0.0:{port}\"]"))
        .set("media.bind", "[\"0.0.0.0\"]")
        .start()
        .expect("started");
    let asked = SocketAddr::new(ASKED, port);

    let tcp = Phone::tcp(asked).expect("a phone");
    let udp = Phone::udp_connected(asked, CALLER).expect("a phone");
    let mut calls = Vec::new();
    for phone in [&udp, &tcp] {
        let options = phone
            .request(OutOfDialog::new("OPTIONS"), WAIT)
            .expect("answered");
        assert_eq!(options.status(), Some(200));

        let media = UdpSocket::bind((phone.local_addr().ip(), 0)).expect("a socket");
        let offer = AudioOffer::new(media.local_addr().expect("an address"));
        let call = phone.invite(Invite::to("3000", &offer)).expect("sent");
        let answer = call.wait_final(WAIT).expect("answered");
        assert_eq!(answer.status(), Some(200));
        let contact = answer.contact_uri().expect("a Contact");
        assert!(contact.contains(&asked.to_string()), "{contact}");
        let remote = call.wait_answer(WAIT).expect("a description");
        assert_eq!(remote.address.ip(), ASKED);
        media.connect(remote.address).expect("connected");
        assert!(hears_media(&media), "no media from {}", remote.address);
        calls.push(call);
    }
    // A request of the server's own comes the same way.
    let (status, _) = server.stop(WAIT).expect("stopped");
    assert!(status.is_some_and(|status| status.success()));
    for call in calls {
        call.wait_request("BYE", WAIT)
            .expect("a BYE from the address that was called");
    }
}

/// A server of both families, as it is by default.
fn of_both_families() -> Option<(confab_testkit::server::Server, u16, PortLease)> {
    // A machine without IPv6.
    UdpSocket::bind("[::1]:0").ok()?;
    let lease = PortLease::take(2).expect("free ports");
    let port = lease.address(0).port();
    let both = format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]");
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.udp", &both)
        .set("sip.tcp", &both)
        .set("media.bind", "[\"0.0.0.0\", \"::\"]")
        .start()
        .expect("started");
    Some((server, port, lease))
}

#[test]
fn media_has_the_family_of_the_offer_whatever_that_of_signalling() {
    let Some((_server, port, _lease)) = of_both_families() else {
        return;
    };
    for (signalling, media) in [
        ("127.0.0.1", "[::1]:0"),
        ("::1", "127.0.0.1:0"),
        ("::1", "[::1]:0"),
    ] {
        let phone =
            Phone::udp(SocketAddr::new(signalling.parse().expect("an address"), port)).expect("a phone");
        let media = UdpSocket::bind(media).expect("a socket");
        let own = media.local_addr().expect("an address");
        let call = phone
            .invite(Invite::to("3000", &AudioOffer::new(own)))
            .expect("sent");
        let answer = call.wait_final(WAIT).expect("answered");
        assert_eq!(answer.status(), Some(200), "{signalling} {own}: {answer:?}");
        let remote = call.wait_answer(WAIT).expect("a description");
        assert_eq!(remote.address.ip(), own.ip(), "the only way that there is");
        media.connect(remote.address).expect("connected");
        assert!(hears_media(&media), "no media from {}", remote.address);
        call.bye(WAIT).expect("ended");
    }
}

#[test]
fn an_own_offer_has_the_family_of_who_is_called() {
    let Some((server, _, _lease)) = of_both_families() else {
        return;
    };
    let conference = server.first_conference().expect("the API").id().to_owned();
    for ip in ["127.0.0.1", "::1"] {
        let ip: IpAddr = ip.parse().expect("an address");
        let phone = Callee::at(ip).expect("a phone");
        let api = server.api().expect("a login");
        let (path, uri) = (format!("/conferences/{conference}"), phone.uri("bob"));
        let body = json!({"action": "dial", "data": {"data": {"endpoints": [uri]}}});
        let dial = std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"));
        let call = phone.wait_call(WAIT).expect("called");
        assert_eq!(call.offer().expect("an offer").address.ip(), ip);
        let contact = call.invite.contact_uri().expect("a Contact").to_owned();
        assert_eq!(contact.contains("[::1]"), ip.is_ipv6(), "{contact}");
        call.respond(486, "Busy Here").expect("sent");
        dial.join().expect("no panic");
    }
}
