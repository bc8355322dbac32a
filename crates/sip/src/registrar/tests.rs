use std::net::IpAddr;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::message::{Headers, Message, NameAddr};

const SERVER: &str = "192.0.2.1:5060";

struct World {
    registrar: Registrar<&'static str>,
    now: Instant,
}

fn udp(source: &str) -> Flow {
    Flow::udp(SERVER.parse().expect("address"), source.parse().expect("address"))
}

fn tcp(source: &str, connection: u64) -> Flow {
    Flow::tcp(
        SERVER.parse().expect("address"),
        source.parse().expect("address"),
        connection,
    )
}

fn read(flow: Flow, call: &str, cseq: u32, headers: &str) -> Result<RegisterRequest, Reply> {
    let vias = if headers.contains("Via:") {
        ""
    } else {
        "Via: SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKa\r\n"
    };
    let text = format!(
        "REGISTER sip:a.example SIP/2.0\r\n{vias}From: <sip:bob@a.example>;tag=f\r\nTo: <sip:b%6Fb@a.example>\r\n\
         Call-ID: {call}\r\nCSeq: {cseq} REGISTER\r\n{headers}\r\n"
    );
    let Ok(Message::Request(request)) = Message::parse(Bytes::from(text.clone())) else {
        panic!("{text}")
    };
    RegisterRequest::read(&request, flow)
}

fn value(reply: &Reply, name: &HeaderName) -> Option<String> {
    let found = reply.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone())
}

fn contacts(reply: &Reply) -> Vec<NameAddr> {
    let mut headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.push(name.clone(), value.clone());
    }
    headers.contacts().expect("contacts")
}

impl World {
    fn new() -> World {
        World {
            registrar: Registrar::new(RegistrarConfig::default()),
            now: Instant::now(),
        }
    }

    fn register(&mut self, flow: Flow, call: &str, cseq: u32, headers: &str) -> Reply {
        let request = read(flow, call, cseq, headers).expect("a REGISTER that reads");
        self.registrar.register(self.now, &"bob", &request, 300)
    }

    fn told(&mut self, flow: Flow, call: &str, cseq: u32, headers: &str) -> Vec<String> {
        let reply = self.register(flow, call, cseq, headers);
        assert_eq!(reply.status, StatusCode::OK, "{headers}");
        let told = contacts(&reply);
        let text = told.iter().map(|contact| {
            let expires = contact.params.value("expires").expect("a life");
            format!("{} {expires}", contact.uri)
        });
        text.collect()
    }

    fn reachable(&self) -> Vec<Reachable> {
        self.registrar.reachable(self.now, &"bob")
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.registrar.handle_timeout(self.now);
    }

    fn unbound(&mut self) -> Vec<Unbound> {
        std::iter::from_fn(|| self.registrar.poll_output())
            .filter_map(|output| match output {
                RegistrarOutput::Unbound { why, .. } => Some(why),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_request_says_whose_contacts_it_is_about() {
    let request = read(udp("192.0.2.7:5060"), "c", 1, "").expect("reads");
    assert_eq!(
        (request.user.as_str(), request.domain.to_string().as_str()),
        ("bob", "a.example")
    );
    assert!(request.only_asks());
}

#[test]
fn what_cannot_be_read_is_refused() {
    let long = format!("Contact: <sip:{}@10.0.0.1>\r\n", "x".repeat(600));
    let path = "Path: <sip:192.0.2.20;lr>\r\n".repeat(9);
    for headers in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: <tel:+49123>\r\n",
        "Path: <tel:+49123>\r\n",
        long.as_str(),
        path.as_str(),
    ] {
        let refused = read(udp("192.0.2.7:5060"), "c", 1, headers).expect_err(headers);
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{headers}");
    }
}

#[test]
fn contacts_are_bound_told_and_over_in_time() {
    let mut world = World::new();
    let flow = udp("192.0.2.7:5060");
    let headers = "Contact: <sip:bob@192.0.2.7>, \"Bob\" <sip:bob@192.0.2.7:5070>;expires=100;q=0.5\r\nExpires: 600\r\n";
    let told = world.told(flow, "c", 1, headers);
    assert_eq!(told, ["sip:bob@192.0.2.7 600", "sip:bob@192.0.2.7:5070 100"]);
    world.wait(40);
    let told = world.told(flow, "other", 1, "");
    assert_eq!(told, ["sip:bob@192.0.2.7 560", "sip:bob@192.0.2.7:5070 60"]);
    world.wait(60);
    assert_eq!(world.told(flow, "other", 2, ""), ["sip:bob@192.0.2.7 500"]);
    assert_eq!(world.unbound(), [Unbound::Expired]);
    assert_eq!(world.registrar.registered(world.now, ..).count(), 1);
    world.wait(500);
    assert_eq!(world.registrar.registered(world.now, ..).count(), 0);
    assert_eq!(world.registrar.poll_timeout(), None);
}

#[test]
fn the_life_of_a_binding_is_what_was_asked_for_within_limits() {
    let rows = [
        ("Contact: <sip:a@192.0.2.7>\r\n", Ok(300)),
        ("Contact: <sip:a@192.0.2.7>\r\nExpires: 61\r\n", Ok(61)),
        ("Contact: <sip:a@192.0.2.7>;expires=90\r\nExpires: 61\r\n", Ok(90)),
        ("Contact: <sip:a@192.0.2.7>;expires=99999\r\n", Ok(3600)),
        ("Contact: <sip:a@192.0.2.7>;expires=never\r\n", Ok(3600)),
        ("Contact: <sip:a@192.0.2.7>\r\nExpires: soon\r\n", Ok(3600)),
        ("Contact: <sip:a@192.0.2.7>\r\nExpires: 59\r\n", Err(423)),
        (
            "Contact: <sip:a@192.0.2.7>, <sip:b@192.0.2.7>;expires=1\r\n",
            Err(423),
        ),
    ];
    for (headers, expected) in rows {
        let mut world = World::new();
        let reply = world.register(udp("192.0.2.7:5060"), "c", 1, headers);
        match expected {
            Ok(seconds) => {
                let told = contacts(&reply);
                let expires = told[0].params.value("expires").and_then(|text| text.as_str());
                assert_eq!(expires, Some(seconds.to_string().as_str()), "{headers}");
            }
            Err(status) => {
                assert_eq!(reply.status.code(), status, "{headers}");
                assert_eq!(value(&reply, &HeaderName::MinExpires).as_deref(), Some("60"));
                assert!(world.reachable().is_empty(), "all or nothing: {headers}");
            }
        }
    }
}

#[test]
fn contacts_are_taken_back_one_by_one_and_all_together() {
    let mut world = World::new();
    let flow = udp("192.0.2.7:5060");
    world.register(
        flow,
        "c",
        1,
        "Contact: <sip:a@192.0.2.7>, <sip:b@192.0.2.7>, <sip:c@192.0.2.7>\r\n",
    );
    let told = world.told(flow, "c", 2, "Contact: <sip:b@192.0.2.7>;expires=0\r\n");
    assert_eq!(told, ["sip:a@192.0.2.7 300", "sip:c@192.0.2.7 300"]);
    let none = world.told(flow, "c", 3, "Contact: <sip:unknown@192.0.2.7>\r\nExpires: 0\r\n");
    assert_eq!(none.len(), 2);
    assert!(
        world
            .told(flow, "c", 4, "Contact: *\r\nExpires: 0\r\n")
            .is_empty()
    );
    assert_eq!(world.unbound(), [Unbound::Asked; 3]);
}

#[test]
fn a_late_copy_changes_nothing() {
    let mut world = World::new();
    let flow = udp("192.0.2.7:5060");
    world.register(flow, "c", 5, "Contact: <sip:a@192.0.2.7>\r\n");
    for (call, cseq, headers, status) in [
        ("c", 5, "Contact: <sip:a@192.0.2.7>;expires=0\r\n", 500),
        ("c", 4, "Contact: <sip:n@192.0.2.7>, <sip:a@192.0.2.7>\r\n", 500),
        ("c", 5, "Contact: *\r\nExpires: 0\r\n", 500),
        ("c", 1, "", 200),
        ("c", 1, "Contact: <sip:b@192.0.2.7>\r\n", 200),
        ("d", 1, "Contact: <sip:a@192.0.2.7>\r\n", 200),
    ] {
        let reply = world.register(flow, call, cseq, headers);
        assert_eq!(reply.status.code(), status, "{call} {cseq} {headers}");
    }
    assert_eq!(world.reachable().len(), 2);
}

#[test]
fn calls_go_the_way_that_is_open() {
    // Flow, headers, where requests go.
    let rows = [
        // Reached where the contact says.
        (
            udp("192.0.2.7:5060"),
            "Contact: <sip:a@192.0.2.7:5070>\r\n",
            udp("192.0.2.7:5070"),
        ),
        (
            udp("192.0.2.7:61000"),
            "Contact: <sip:a@192.0.2.7>\r\n",
            udp("192.0.2.7:5060"),
        ),
        // Behind a NAT, whatever the contact says.
        (
            udp("203.0.113.9:40000"),
            "Contact: <sip:a@10.0.0.5:5060>\r\n",
            udp("203.0.113.9:40000"),
        ),
        (
            udp("203.0.113.9:40000"),
            "Contact: <sip:a@198.51.100.7>\r\n",
            udp("203.0.113.9:40000"),
        ),
        (
            udp("203.0.113.9:40000"),
            "Contact: <sip:a@phone.invalid>\r\n",
            udp("203.0.113.9:40000"),
        ),
        (
            udp("192.0.2.7:61000"),
            "Contact: <sip:a@192.0.2.7;ob>\r\n",
            udp("192.0.2.7:61000"),
        ),
        // By its connection.
        (
            tcp("203.0.113.9:40000", 7),
            "Contact: <sip:a@203.0.113.9:5060;transport=tcp>\r\n",
            tcp("203.0.113.9:40000", 7),
        ),
        // Through proxies: Path says so, or several Vias do.
        (
            udp("192.0.2.20:5060"),
            "Path: <sip:192.0.2.21:5080;lr>, <sip:192.0.2.22;lr>\r\nContact: <sip:a@10.0.0.5>\r\n",
            udp("192.0.2.21:5080"),
        ),
        (
            udp("192.0.2.20:5060"),
            "Via: SIP/2.0/UDP 192.0.2.20;branch=z9hG4bKb\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa\r\n\
             Contact: <sip:a@198.51.100.7:5062>\r\n",
            udp("198.51.100.7:5062"),
        ),
    ];
    for (flow, headers, expected) in rows {
        let mut world = World::new();
        assert_eq!(
            world.register(flow, "c", 1, headers).status,
            StatusCode::OK,
            "{headers}"
        );
        let reachable = world.reachable();
        assert_eq!(reachable.len(), 1);
        assert_eq!(reachable[0].flow, expected, "{headers}");
    }
}

#[test]
fn a_path_is_kept_for_calls_and_told_to_who_understands_it() {
    let mut world = World::new();
    let headers =
        "Path: <sip:p1@192.0.2.20;lr>\r\nPath: <sip:192.0.2.22;lr>\r\nContact: <sip:a@10.0.0.5>\r\n";
    let reply = world.register(udp("192.0.2.20:5060"), "c", 1, headers);
    assert_eq!(value(&reply, &HeaderName::Path), None);
    let supporting = format!("Supported: path\r\n{headers}");
    let reply = world.register(udp("192.0.2.20:5060"), "c", 2, &supporting);
    let paths = reply.headers.iter().filter(|(name, _)| *name == HeaderName::Path);
    let paths: Vec<&str> = paths.map(|(_, value)| value.as_str()).collect();
    assert_eq!(paths, ["<sip:p1@192.0.2.20;lr>", "<sip:192.0.2.22;lr>"]);
    let route: Vec<String> = world.reachable()[0]
        .route
        .iter()
        .map(|hop| hop.uri.to_string())
        .collect();
    assert_eq!(route, ["sip:p1@192.0.2.20;lr", "sip:192.0.2.22;lr"]);
}

#[test]
fn an_instance_that_comes_back_takes_the_place_of_what_it_was() {
    let mut world = World::new();
    let instance = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";
    let contact = |host: &str, rest: &str| {
        format!("Supported: outbound\r\nContact: <sip:a@{host};ob>;{instance}{rest}\r\n")
    };
    let first = world.register(
        tcp("203.0.113.9:40000", 1),
        "c",
        1,
        &contact("10.0.0.5:1", ";reg-id=1"),
    );
    assert_eq!(value(&first, &HeaderName::Require).as_deref(), Some("outbound"));
    world.register(
        tcp("203.0.113.9:40001", 2),
        "d",
        1,
        &contact("10.0.0.5:2", ";reg-id=2"),
    );
    assert_eq!(world.reachable().len(), 2, "two flows of one instance");
    world.register(
        tcp("203.0.113.9:40002", 3),
        "e",
        1,
        &contact("10.0.0.6:9", ";reg-id=1"),
    );
    let flows: Vec<u64> = world
        .reachable()
        .iter()
        .map(|contact| contact.flow.connection)
        .collect();
    assert_eq!(flows, [3, 2]);
    // What is bound already by its URI, and by its instance, is one afterwards.
    world.register(udp("203.0.113.9:40000"), "f", 1, "Contact: <sip:x@10.0.0.5>\r\n");
    world.register(
        udp("203.0.113.9:40000"),
        "g",
        1,
        &format!("Contact: <sip:y@10.0.0.5>;{instance}\r\n"),
    );
    assert_eq!(world.reachable().len(), 4);
    world.register(
        udp("203.0.113.9:40000"),
        "h",
        1,
        &format!("Contact: <sip:x@10.0.0.5>;{instance}\r\n"),
    );
    assert_eq!(world.reachable().len(), 3);
}

#[test]
fn a_closed_connection_takes_what_only_it_led_to() {
    let rows = [
        ("Contact: <sip:a@203.0.113.9:40000;transport=tcp>\r\n", false),
        ("Contact: <sip:a@10.0.0.5;transport=tcp>\r\n", false),
        ("Contact: <sip:a@203.0.113.9:5060;transport=tcp;ob>\r\n", false),
        ("Contact: <sip:a@203.0.113.9:5060;transport=tcp>\r\n", true),
        (
            "Path: <sip:203.0.113.9;transport=tcp;lr>\r\nContact: <sip:a@10.0.0.5>\r\n",
            true,
        ),
    ];
    for (headers, stays) in rows {
        let mut world = World::new();
        world.register(tcp("203.0.113.9:40000", 4), "c", 1, headers);
        assert!(world.registrar.uses_connection(4));
        world.registrar.handle_connection_closed(5);
        assert_eq!(world.reachable().len(), 1);
        world.registrar.handle_connection_closed(4);
        assert!(!world.registrar.uses_connection(4));
        let reachable = world.reachable();
        assert_eq!(reachable.len(), usize::from(stays), "{headers}");
        if let Some(contact) = reachable.first() {
            assert_eq!(
                contact.flow,
                Flow {
                    remote: "203.0.113.9:5060".parse().expect("address"),
                    ..tcp(SERVER, 0)
                }
            );
        }
    }
}

#[test]
fn a_nat_is_kept_open_and_nothing_else_is_asked() {
    let mut world = World::new();
    world.register(
        udp("203.0.113.9:40000"),
        "c",
        1,
        "Contact: <sip:a@10.0.0.5>;expires=100\r\n",
    );
    world.register(
        udp("192.0.2.7:5060"),
        "c",
        1,
        "Contact: <sip:b@192.0.2.7>;expires=100\r\n",
    );
    let mut kept = 0;
    for _ in 0..100 {
        world.wait(1);
        while let Some(output) = world.registrar.poll_output() {
            if let RegistrarOutput::KeepAlive(contact) = output {
                assert_eq!(contact.flow, udp("203.0.113.9:40000"));
                kept += 1;
            }
        }
    }
    assert!((3..=4).contains(&kept), "{kept}");
    assert_eq!(world.registrar.counts(), (0, 0));
}

#[test]
fn the_oldest_contact_gives_way_to_a_new_one() {
    let mut world = World::new();
    let flow = udp("203.0.113.9:40000");
    for number in 0..12 {
        world.register(
            flow,
            "c",
            1,
            &format!("Contact: <sip:a@10.0.0.5:{}>\r\n", 1000 + number),
        );
    }
    let reachable = world.reachable();
    assert_eq!(reachable.len(), 10);
    assert_eq!(reachable[0].target.to_string(), "sip:a@10.0.0.5:1011");
    assert!(
        !reachable
            .iter()
            .any(|contact| contact.target.to_string().ends_with("1001"))
    );
    let many: Vec<String> = (0..11)
        .map(|number| format!("<sip:m{number}@10.0.0.5>"))
        .collect();
    let reply = world.register(flow, "c", 2, &format!("Contact: {}\r\n", many.join(", ")));
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
}

#[test]
fn what_is_preferred_comes_first() {
    let mut world = World::new();
    let headers = "Contact: <sip:a@10.0.0.5>;q=0.2, <sip:b@10.0.0.5>, <sip:c@10.0.0.5>;q=0.9\r\n";
    world.register(udp("203.0.113.9:40000"), "c", 1, headers);
    let users: Vec<String> = world
        .reachable()
        .iter()
        .map(|contact| contact.target.to_string())
        .collect();
    assert_eq!(users, ["sip:b@10.0.0.5", "sip:c@10.0.0.5", "sip:a@10.0.0.5"]);
}

#[test]
fn bindings_are_put_back_as_far_as_they_can_be_used() {
    let mut world = World::new();
    let now = world.now;
    let put_back = |world: &mut World, id, contact: &str, flow, seconds| {
        let contact = crate::Uri::parse(contact.to_owned()).expect("URI");
        let binding = Binding::restored(BindingId(id), contact, flow, now + Duration::from_secs(seconds));
        world.registrar.restore(now, &"bob", binding);
    };
    put_back(&mut world, 41, "sip:a@10.0.0.5", udp("203.0.113.9:40000"), 50);
    put_back(&mut world, 42, "sip:b@10.0.0.5", udp("203.0.113.9:40000"), 0);
    put_back(
        &mut world,
        43,
        "sip:c@10.0.0.5;transport=tcp",
        tcp("203.0.113.9:40000", 9),
        50,
    );
    assert_eq!(world.reachable().len(), 1);
    assert_eq!(
        world.unbound().len(),
        2,
        "what was not put back is to be forgotten"
    );
    world.register(udp("203.0.113.9:40000"), "c", 1, "Contact: <sip:n@10.0.0.5>\r\n");
    assert!(
        world.registrar.binding(&"bob", BindingId(44)).is_some(),
        "numbers go on"
    );
    assert!(
        world
            .registrar
            .came_from(now, &"bob", IpAddr::from([203, 0, 113, 9]))
    );
    assert!(
        !world
            .registrar
            .came_from(now, &"bob", IpAddr::from([203, 0, 113, 8]))
    );
    world.registrar.remove(&"bob");
    assert_eq!(world.unbound(), [Unbound::Removed; 2]);
}

#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/registrar");
    for entry in std::fs::read_dir(folder).expect("seeds") {
        let seed = std::fs::read(entry.expect("a seed").path()).expect("read");
        fuzz_registrar(Instant::now(), &seed);
    }
}

proptest! {
    #[test]
    fn no_sequence_of_requests_breaks_a_promise(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_registrar(Instant::now(), &data);
    }
}
