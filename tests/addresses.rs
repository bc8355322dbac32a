//! A server on a wildcard address of a machine with several: everything comes from the address that was asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Invite, OutOfDialog, Phone};
use confab_testkit::ports::PortLease;
use confab_testkit::server::ServerBuilder;

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
