//! Keys against each other: listeners on one port, and keys that do nothing.

use super::*;

/// A file whose own listeners are out of the way of `lines`.
fn with(http: &str, sip: &str) -> String {
    format!("[http]\n{http}\n[sip]\n{sip}\n")
}

#[test]
fn two_listeners_on_one_port_are_named_both() {
    let rows = [
        (
            with("", "tcp = [\"0.0.0.0:8000\"]"),
            "c.toml:4: sip.tcp: wants 0.0.0.0:8000, and http.bind wants 0.0.0.0:8000: one excludes the other",
        ),
        // The default is not to blame.
        (
            with("bind = \"127.0.0.1:5060\"", ""),
            "c.toml:2: http.bind: wants 127.0.0.1:5060, and sip.tcp wants 0.0.0.0:5060",
        ),
        // HTTP's [::] is IPv4 as well.
        (
            with("bind = \"[::]:8001\"", ""),
            "c.toml:2: http.bind: wants [::]:8001, and http.admin_bind wants 127.0.0.1:8001",
        ),
        (
            with("", "ws = [\"127.0.0.1:5060\"]"),
            "c.toml:4: sip.ws: wants 127.0.0.1:5060, and sip.tcp wants 0.0.0.0:5060",
        ),
        (
            with("", "ws = [\"[::1]:5060\"]"),
            "c.toml:4: sip.ws: wants [::1]:5060, and sip.tcp wants [::]:5060",
        ),
        (
            with(
                "",
                "tls = [\"0.0.0.0:5060\"]\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"",
            ),
            "c.toml:4: sip.tls: wants 0.0.0.0:5060, and sip.tcp wants 0.0.0.0:5060",
        ),
        (
            with(
                "",
                "wss = [\"192.0.2.1:5555\"]\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"",
            ),
            "c.toml:4: sip.wss: wants 192.0.2.1:5555, and http.websocket_bind wants 0.0.0.0:5555",
        ),
        (
            with("", "udp = [\"0.0.0.0:5060\", \"127.0.0.1:5060\"]"),
            "c.toml:4: sip.udp: wants 127.0.0.1:5060, and sip.udp wants 0.0.0.0:5060",
        ),
        (
            with("", "udp = [\"0.0.0.0:5060\", \"[::ffff:127.0.0.1]:5060\"]"),
            "c.toml:4: sip.udp: wants [::ffff:127.0.0.1]:5060, and sip.udp wants 0.0.0.0:5060",
        ),
        (
            with(
                "tls_bind = \"0.0.0.0:8000\"\ntls_cert = \"c\"\ntls_key = \"k\"",
                "",
            ),
            "c.toml:2: http.tls_bind: wants 0.0.0.0:8000, and http.bind wants 0.0.0.0:8000",
        ),
    ];
    for (text, expected) in rows {
        let found = problem(&text, &[]);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    let variable = problem("", &[("CONFAB__HTTP__ADMIN_BIND", "127.0.0.1:5555")]);
    assert!(
        variable.starts_with("environment CONFAB__HTTP__ADMIN_BIND: http.admin_bind: wants 127.0.0.1:5555"),
        "{variable}"
    );
}

#[test]
fn listeners_that_let_each_other_be_are_taken() {
    for text in [
        // Datagrams and connections, and each family of SIP, have ports of their own.
        with(
            "",
            "udp = [\"0.0.0.0:8000\"]\ntcp = [\"0.0.0.0:5060\", \"[::]:5060\"]",
        ),
        with("", "tcp = [\"127.0.0.1:5060\", \"127.0.0.2:5060\"]"),
        with("", "tcp = [\"[fe80::1%2]:5060\", \"[fe80::1%3]:5060\"]"),
        with("bind = \"127.0.0.2:8001\"", ""),
        with(
            "bind = \"127.0.0.1:0\"\nadmin_bind = \"127.0.0.1:0\"",
            "tcp = [\"127.0.0.1:0\"]",
        ),
    ] {
        let loaded = load(&text, &[]);
        assert!(loaded.is_ok(), "{text}: {:?}", loaded.err());
    }
}

#[test]
fn sip_stays_out_of_the_ports_of_media() {
    let clash = |sip: &str, media: &str| format!("[sip]\nudp = [\"{sip}\"]\n[media]\n{media}\n");
    let found = problem(&clash("127.0.0.1:20000", ""), &[]);
    assert!(
        found.starts_with(
            "c.toml:2: sip.udp: 127.0.0.1:20000 of sip.udp is one of the ports that calls have for their audio \
             (media.ports, 16384-32767)"
        ),
        "{found}"
    );
    let moved = problem("[media]\nports = \"5000-6000\"\n", &[]);
    assert!(
        moved.starts_with("c.toml:2: media.ports: 0.0.0.0:5060 of sip.udp is one of the ports"),
        "{moved}"
    );
    for (sip, media) in [
        ("127.0.0.1:20000", "bind = [\"127.0.0.2\"]"),
        ("127.0.0.1:20000", "bind = [\"::\"]"),
        // An odd port at the beginning, an even one at the end: no leg takes them.
        ("127.0.0.1:20001", "ports = \"20001-20003\""),
        ("127.0.0.1:20004", "ports = \"20001-20004\""),
        ("127.0.0.1:0", ""),
    ] {
        let loaded = load(&clash(sip, media), &[]);
        assert!(loaded.is_ok(), "{sip} {media}: {:?}", loaded.err());
    }
    for port in [20_002, 20_003] {
        let text = clash(&format!("127.0.0.1:{port}"), "ports = \"20001-20004\"");
        assert!(load(&text, &[]).is_err(), "{port}");
    }
}

#[test]
fn who_is_to_be_kept_out_is_not_let_in_by_an_oversight() {
    let text = with("", "tls_clients = \"ca.pem\"");
    let found = problem(&text, &[]);
    assert!(
        found.starts_with("c.toml:4: sip.tls_clients: keeps nobody out while sip.tls is empty"),
        "{found}"
    );
    let wss = with(
        "",
        "wss = [\"0.0.0.0:5063\"]\ntls_cert = \"c\"\ntls_key = \"k\"\ntls_clients = \"ca.pem\"",
    );
    assert!(problem(&wss, &[]).contains("sip.tls_clients"));
}

#[test]
fn keys_that_do_nothing_are_told() {
    let idle = |text: &str| -> Vec<&'static str> {
        let config = load(text, &[]).unwrap();
        config.idle_keys().iter().map(|idle| idle.key).collect()
    };
    assert_eq!(idle(""), Vec::<&str>::new());
    assert_eq!(
        idle(&with("tls_cert = \"c.pem\"", "tls_key = \"k.pem\"")),
        ["http.tls_cert", "sip.tls_key"]
    );
    let off =
        "websocket_bind = \"\"\nmax_connections_per_ip = 3\n[fetch]\nenabled = false\nallow_private = true";
    assert_eq!(
        idle(&with(off, "")),
        ["http.max_connections_per_ip", "fetch.allow_private"]
    );
    let on = "[sip]\nwss = [\"0.0.0.0:5063\"]\ntls_cert = \"c\"\ntls_key = \"k\"\n";
    assert_eq!(idle(on), Vec::<&str>::new());
}
