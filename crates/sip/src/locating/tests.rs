use proptest::prelude::*;

use super::*;

const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

fn route(uri: &str, available: &[Transport]) -> Option<Route> {
    Route::of(&SipUri::parse(uri.to_owned()).expect("a URI"), available)
}

fn names(services: &[Service]) -> Vec<(&'static str, &str)> {
    let told = |service: &'_ Service| service.transport.via_token();
    services
        .iter()
        .map(|service| (told(service), service.name.as_str()))
        .collect()
}

#[test]
fn a_uri_says_what_is_asked_for() {
    // URI, NAPTR first, services, transport and port where there are none
    type Row = (
        &'static str,
        bool,
        &'static [(&'static str, &'static str)],
        Transport,
        u16,
    );
    let rows: [Row; 10] = [
        (
            "sip:a@example.com",
            true,
            &[("UDP", "_sip._udp.example.com"), ("TCP", "_sip._tcp.example.com")],
            Transport::Udp,
            5060,
        ),
        (
            "sips:a@example.com.",
            true,
            &[("TLS", "_sips._tcp.example.com")],
            Transport::Tls,
            5061,
        ),
        (
            "sip:a@example.com;transport=tcp",
            false,
            &[("TCP", "_sip._tcp.example.com")],
            Transport::Tcp,
            5060,
        ),
        (
            "sip:a@example.com;transport=tls",
            false,
            &[("TLS", "_sips._tcp.example.com")],
            Transport::Tls,
            5061,
        ),
        (
            "sips:a@example.com;transport=tcp",
            false,
            &[("TLS", "_sips._tcp.example.com")],
            Transport::Tls,
            5061,
        ),
        ("sip:a@example.com:5080", false, &[], Transport::Udp, 5080),
        ("sips:a@example.com:5080", false, &[], Transport::Tls, 5080),
        ("sip:a@192.0.2.7", false, &[], Transport::Udp, 5060),
        (
            "sip:a@[2001:db8::7];transport=TCP",
            false,
            &[],
            Transport::Tcp,
            5060,
        ),
        ("sip:a@192.0.2.7;transport=tls", false, &[], Transport::Tls, 5061),
    ];
    for (uri, asks_naptr, services, transport, port) in rows {
        let found = route(uri, &ALL).unwrap_or_else(|| panic!("{uri}"));
        assert_eq!(found.asks_naptr, asks_naptr, "{uri}");
        assert_eq!(names(&found.services), services, "{uri}");
        assert_eq!((found.transport, found.port), (transport, port), "{uri}");
    }
}

#[test]
fn what_is_not_there_is_not_used() {
    for uri in [
        "sips:a@example.com;transport=udp",
        "sip:a@example.com;transport=ws",
        "sip:a@example.com;transport=sctp",
    ] {
        assert_eq!(route(uri, &ALL), None, "{uri}");
    }
    let tcp = [Transport::Tcp, Transport::Tls];
    assert_eq!(route("sip:a@example.com;transport=udp", &tcp), None);
    let found = route("sip:a@example.com", &tcp).expect("by TCP");
    assert_eq!(names(&found.services), [("TCP", "_sip._tcp.example.com")]);
    assert_eq!(found.transport, Transport::Tcp);
    assert_eq!(route("sip:a@example.com", &[Transport::Tls]), None);
}

fn rule(order: u16, preference: u16, service: &str, replacement: &str) -> NaptrRecord {
    NaptrRecord {
        order,
        preference,
        flags: "s".to_owned(),
        service: service.to_owned(),
        replacement: replacement.to_owned(),
    }
}

#[test]
fn a_domain_says_which_transport_it_prefers() {
    // The example of RFC 3263 §4.1, with rules that nobody here follows.
    let rules = vec![
        rule(90, 50, "SIPS+D2T", "_sips._tcp.example.com."),
        rule(100, 50, "SIP+D2U", "_sip._udp.example.com."),
        rule(90, 40, "SIP+D2S", "_sip._sctp.example.com."),
        rule(90, 60, "sip+d2t", "_sip._tcp.example.com."),
        rule(90, 10, "E2U+sip", "example.com."),
        NaptrRecord {
            flags: "u".to_owned(),
            ..rule(80, 10, "SIP+D2U", "_sip._udp.example.com.")
        },
        rule(70, 10, "SIP+D2U", "."),
    ];
    let sip = route("sip:a@example.com", &ALL).expect("a way");
    let found = sip.by_rules(rules.clone(), &ALL);
    assert_eq!(
        names(&found),
        [
            ("TLS", "_sips._tcp.example.com"),
            ("TCP", "_sip._tcp.example.com")
        ],
        "those of a higher order are not looked at"
    );
    let udp = [Transport::Udp];
    let found = route("sip:a@example.com", &udp)
        .expect("a way")
        .by_rules(rules.clone(), &udp);
    assert_eq!(names(&found), [("UDP", "_sip._udp.example.com")]);
    let sips = route("sips:a@example.com", &ALL).expect("a way");
    assert_eq!(
        names(&sips.by_rules(rules, &ALL)),
        [("TLS", "_sips._tcp.example.com")]
    );
    assert_eq!(sip.by_rules(Vec::new(), &ALL), []);
}

fn server(priority: u16, weight: u16, target: &str) -> SrvRecord {
    SrvRecord {
        priority,
        weight,
        port: 5060,
        target: target.to_owned(),
    }
}

#[test]
fn weights_are_shares_and_a_server_without_one_has_a_small_chance() {
    let servers = || {
        vec![
            server(1, 30, "c"),
            server(1, 0, "z"),
            server(1, 10, "a"),
            server(0, 0, "first"),
            server(2, 9, "."),
            server(2, 9, "last"),
        ]
    };
    let mut state = 1_u32;
    let mut random = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % bound
    };
    let mut firsts = [0; 3];
    for _ in 0..8200 {
        let order = in_order(servers(), &mut random);
        let order: Vec<&str> = order.iter().map(|server| server.target.as_str()).collect();
        assert_eq!((order[0], order[4], order.len()), ("first", "last", 5));
        let place = ["c", "a", "z"].iter().position(|name| *name == order[1]);
        firsts[place.expect("one of the three")] += 1;
    }
    let [c, a, z] = firsts;
    assert!((5700..6300).contains(&c), "{firsts:?}: 30 of 41 tickets");
    assert!((1800..2200).contains(&a), "{firsts:?}: 10 of 41 tickets");
    assert!((120..290).contains(&z), "{firsts:?}: one ticket");
}

proptest! {
    #[test]
    fn every_server_is_tried_once_and_none_before_a_better_one(
        servers in proptest::collection::vec((0..4_u16, any::<u16>(), 0..3_u16, "[a-c.]{0,2}"), 0..40),
        seed in any::<u32>(),
    ) {
        let servers: Vec<SrvRecord> = servers
            .into_iter()
            .map(|(priority, weight, port, target)| SrvRecord { priority, weight, port, target })
            .collect();
        let mut state = seed;
        let mut random = |bound: u32| {
            assert_ne!(bound, 0);
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state % bound
        };
        let ordered = in_order(servers.clone(), &mut random);
        prop_assert!(ordered.windows(2).all(|pair| pair[0].priority <= pair[1].priority));
        let key = |server: &SrvRecord| (server.priority, server.weight, server.port, server.target.clone());
        let mut kept: Vec<_> = servers
            .iter()
            .take(MOST_RECORDS)
            .filter(|server| server.port != 0 && !server.target.trim_end_matches('.').is_empty())
            .map(key)
            .collect();
        let mut tried: Vec<_> = ordered.iter().map(key).collect();
        kept.sort();
        tried.sort();
        prop_assert_eq!(kept, tried);
    }

    #[test]
    fn rules_are_followed_in_their_order(
        rules in proptest::collection::vec(
            (0..3_u16, 0..3_u16, prop::sample::select(vec!["s", "S", "u", ""]),
             prop::sample::select(vec!["SIP+D2U", "SIP+D2T", "SIPS+D2T", "x"]), "[a-b]{0,1}"), 0..40),
        secure in any::<bool>(),
    ) {
        let rules: Vec<NaptrRecord> = rules
            .into_iter()
            .map(|(order, preference, flags, service, replacement)| NaptrRecord {
                order,
                preference,
                flags: flags.to_owned(),
                service: service.to_owned(),
                replacement,
            })
            .collect();
        let uri = if secure { "sips:example.com" } else { "sip:example.com" };
        let found = route(uri, &ALL).expect("a way").by_rules(rules.clone(), &ALL);
        let first_of = |service: &Service| {
            let of_it = rules.iter().take(MOST_RECORDS).filter(|rule| {
                rule.replacement == service.name
                    && rule.flags.eq_ignore_ascii_case("s")
                    && transport_of(&rule.service) == Some(service.transport)
            });
            of_it.map(|rule| (rule.order, rule.preference)).min()
        };
        let places: Vec<_> = found.iter().map(first_of).collect();
        prop_assert!(places.iter().all(Option::is_some));
        prop_assert!(places.windows(2).all(|pair| pair[0] <= pair[1]));
        prop_assert!(places.iter().all(|place| place.map(|place| place.0) == places[0].map(|place| place.0)));
        prop_assert!(found.iter().all(|service| !secure || service.transport == Transport::Tls));
    }
}

#[test]
fn maddr_takes_the_place_of_the_host() {
    let found = route("sip:a@example.com;maddr=192.0.2.7", &ALL).expect("a way");
    assert!(
        !found.asks_naptr && found.services.is_empty(),
        "an address is asked for no services"
    );
    assert_eq!((found.transport, found.port), (Transport::Udp, 5060));
    let found = route("sip:a@192.0.2.9;maddr=example.com", &ALL).expect("a way");
    assert!(found.asks_naptr);
    assert_eq!(names(&found.services)[0], ("UDP", "_sip._udp.example.com"));
    for wrong in ["sip:a@example.com;maddr=%20", "sip:a@example.com;maddr=[x"] {
        if let Ok(uri) = SipUri::parse(wrong.to_owned()) {
            assert_eq!(uri.server_host(), None, "{wrong}");
            assert_eq!(Route::of(&uri, &ALL), None, "{wrong}");
        }
    }
}
