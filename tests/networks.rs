//! Peers in private networks and outside of them, over IPv4 and IPv6: each is told the address that leads to the server from there, in
//! Contact, Via and the session description alike.
//!
//! Wants to be root, with `ip` and `unshare`; `tests/run` calls it. The outer test makes a host with addresses of all these networks and runs the
//! inner one there.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Callee, Invite, Phone};
use confab_testkit::server::{ServerBuilder, exclusive};
use serde_json::json;

const WAIT: Duration = Duration::from_secs(10);
/// Set where the inner test runs.
const ON_OWN_HOST: &str = "CONFAB_NETWORKS_HOST";

/// The server's own addresses, those that it tells the world, and phones: within, and outside.
const OWN: [&str; 2] = ["10.9.0.1", "fd09::1"];
const PUBLIC: [&str; 2] = ["203.0.113.1", "2001:db8::1"];
const WITHIN: [&str; 2] = ["192.168.9.2", "fd09::2"];
const OUTSIDE: [&str; 2] = ["198.51.100.7", "2001:db8:9::7"];
/// Counted as one of its own by `sip.local_nets`.
const NAMED: &str = "198.51.100.130";

fn run(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split_ascii_whitespace())
        .output()
        .expect("ip runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {arguments}: {said}");
}

#[test]
#[ignore = "makes a network namespace: as root, by tests/run"]
fn each_network_is_told_the_address_that_leads_to_it() {
    let program = std::env::current_exe().expect("this program");
    let inner = Command::new("unshare")
        .arg("--net")
        .arg(program)
        .args(["--ignored", "--exact", "--nocapture", "on_its_own_host"])
        .env(ON_OWN_HOST, "1")
        .output()
        .expect("the inner test");
    let (said, wrong) = (
        String::from_utf8_lossy(&inner.stdout),
        String::from_utf8_lossy(&inner.stderr),
    );
    assert!(inner.status.success(), "{said}{wrong}");
    assert!(said.contains("1 passed"), "{said}{wrong}");
}

#[test]
#[ignore = "the inner half: runs on a host of its own"]
fn on_its_own_host() {
    if std::env::var_os(ON_OWN_HOST).is_none() {
        // Called by itself, it has no host.
        return;
    }
    let _alone = exclusive();
    run("link set lo up");
    for address in [OWN, WITHIN, OUTSIDE].concat().into_iter().chain([NAMED]) {
        let (bits, now) = if address.contains(':') {
            (128, " nodad")
        } else {
            (32, "")
        };
        run(&format!("address add {address}/{bits} dev lo{now}"));
    }
    for to_private in [false, true] {
        for wildcard in [true, false] {
            told(to_private, wildcard);
        }
    }
}

/// Calls from and to every peer and looks at what it is told.
fn told(to_private: bool, wildcard: bool) {
    let both = |port: &str, [ipv4, ipv6]: [&str; 2]| match (wildcard, port) {
        (true, "") => "[\"0.0.0.0\", \"::\"]".to_owned(),
        (true, port) => format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]"),
        (false, "") => format!("[\"{ipv4}\", \"{ipv6}\"]"),
        (false, port) => format!("[\"{ipv4}:{port}\", \"[{ipv6}]:{port}\"]"),
    };
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.udp", &both("5060", OWN))
        .set("sip.tcp", &both("5060", OWN))
        .set("media.bind", &both("", OWN))
        .set("sip.advertised_address", &format!("\"{}\"", PUBLIC.join(", ")))
        .set("sip.advertised_to_private", &to_private.to_string())
        .set("sip.local_nets", "[\"198.51.100.128/25\"]")
        .start()
        .expect("started");
    let conference = server.first_conference().expect("the API").id().to_owned();
    let private = if to_private { PUBLIC } else { OWN };
    let peers = [
        (0, WITHIN[0], private[0]),
        (1, WITHIN[1], private[1]),
        (0, OUTSIDE[0], PUBLIC[0]),
        (1, OUTSIDE[1], PUBLIC[1]),
        (0, NAMED, OWN[0]),
    ];
    for (family, peer, expected) in peers {
        let what = format!("{peer}, to private {to_private}, wildcard {wildcard}");
        let (peer, expected): (IpAddr, IpAddr) = (
            peer.parse().expect("an address"),
            expected.parse().expect("an address"),
        );
        let asked = SocketAddr::new(OWN[family].parse().expect("an address"), 5060);
        let phone = Phone::udp_connected(asked, peer).expect("a phone");
        let media = UdpSocket::bind((peer, 0)).expect("a socket");
        let offer = AudioOffer::new(media.local_addr().expect("an address"));
        let call = phone.invite(Invite::to("3000", &offer)).expect("sent");
        let answer = call.wait_final(WAIT).expect("answered");
        assert_eq!(answer.status(), Some(200), "{what}");
        let contact = answer.contact_uri().expect("a Contact");
        let host = SocketAddr::new(expected, 5060);
        assert!(contact.contains(&format!("@{host}")), "{what}: {contact}");
        let shown = call.wait_answer(WAIT).expect("a description").address.ip();
        assert_eq!(shown, expected, "{what}");
        call.bye(WAIT).expect("ended");

        let callee = Callee::at(peer).expect("a phone");
        let api = server.api().expect("a login");
        let (path, uri) = (format!("/conferences/{conference}"), callee.uri("bob"));
        let body = json!({"action": "dial", "data": {"data": {"endpoints": [uri]}}});
        let dial = std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"));
        let call = callee.wait_call(WAIT).expect("called");
        // On a wildcard, and on a host that has the peer's address itself, the kernel goes from that one.
        let own = if wildcard && expected == asked.ip() {
            peer
        } else {
            expected
        };
        let shown = call.offer().expect("an offer").address.ip();
        assert_eq!(shown, own, "{what}, called");
        let host = SocketAddr::new(own, 5060);
        let contact = call.invite.contact_uri().expect("a Contact");
        assert!(contact.contains(&host.to_string()), "{what}, called: {contact}");
        let via = call.invite.header("Via").expect("a Via");
        assert!(via.contains(&format!(" {host};")), "{what}, called: {via}");
        call.respond(486, "Busy Here").expect("sent");
        dial.join().expect("no panic");
    }
}
