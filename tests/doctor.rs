//! `confab doctor` finds what would go wrong, names key and remedy, and leaves a running server alone.

use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Output};

use confab_testkit::dns::DnsServer;
use confab_testkit::server::{ServerBuilder, TempDir, free_address};

fn doctor(folder: &TempDir, text: &str) -> Output {
    let config = folder.path().join("confab.toml");
    fs::write(&config, text).expect("written");
    Command::new(env!("CARGO_BIN_EXE_confab"))
        .arg("doctor")
        .arg("--config")
        .arg(&config)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A configuration all of whose ports are free.
fn free_ports() -> String {
    let address = || free_address().expect("an address");
    format!(
        "[http]\nbind = \"{}\"\nwebsocket_bind = \"{}\"\nadmin_bind = \"{}\"\n[sip]\nudp = [\"{}\"]\ntcp = [\"{}\"]\n",
        address(),
        address(),
        address(),
        address(),
        address()
    )
}

#[test]
fn a_machine_that_is_fit_has_nothing_wrong_and_stays_as_it_was() {
    let folder = TempDir::new("doctor").expect("a directory");
    let output = doctor(&folder, &free_ports());
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("0 wrong"), "{text}");
    for what in [
        "data_dir",
        "sip.udp",
        "http.bind",
        "media.ports",
        "clock",
        "open files",
        "real-time priority",
    ] {
        assert!(text.contains(what), "{what}: {text}");
    }
    assert!(!folder.path().join("data").exists(), "it makes nothing");
}

#[test]
fn what_is_wrong_is_named_with_its_key_and_what_to_do() {
    let folder = TempDir::new("doctor").expect("a directory");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("bound");
    let text = free_ports() + &format!("[media]\nports = \"20000-20001\"\n# {}\n", taken.1);
    let text = text.replace(
        "[sip]\n",
        "[sip]\nmax_calls = 5\nadvertised_address = \"no-such-host.invalid\"\n",
    );
    let udp = text
        .lines()
        .find(|line| line.starts_with("udp"))
        .expect("a line")
        .to_owned();
    let text = text.replace(&udp, &format!("udp = [\"{}\"]", taken.1));
    let output = doctor(&folder, &text);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in [
        "another server on this port? set sip.udp",
        "room for 1 calls, and sip.max_calls is 5",
        "'no-such-host.invalid' does not resolve",
        "3 wrong",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn name_servers_are_asked() {
    let folder = TempDir::new("doctor").expect("a directory");
    let dns = DnsServer::start(Vec::new()).expect("a name server");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let silent = silent
        .local_addr()
        .map(|address| (silent, address))
        .expect("bound");
    for (server, words) in [
        (dns.address(), "sip.name_servers           they answer"),
        (silent.1, "sip.name_servers           they do not answer"),
    ] {
        let text = free_ports().replace("[sip]\n", &format!("[sip]\nname_servers = [\"{server}\"]\n"));
        let text = said(&doctor(&folder, &text));
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_line() {
    let folder = TempDir::new("doctor").expect("a directory");
    let output = doctor(&folder, "[sip]\nudb = []\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("confab.toml:2"), "{}", said(&output));
    let output = doctor(&folder, "[sip]\nws = [\"127.0.0.1:8000\"]\n");
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains("sip.ws: wants 127.0.0.1:8000, and http.bind wants 0.0.0.0:8000"),
        "{text}"
    );
    let text = said(&doctor(&folder, &(free_ports() + "tls_cert = \"c.pem\"\n")));
    assert!(
        text.contains("doubt  sip.tls_cert") && text.contains("no TLS is listened for"),
        "{text}"
    );
}

#[test]
fn beside_a_running_server_its_ports_are_not_tried() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let output = Command::new(env!("CARGO_BIN_EXE_confab"))
        .arg("doctor")
        .arg("--config")
        .arg(server.directory().join("confab.toml"))
        .arg("--data-dir")
        .arg(server.directory().join("data"))
        .output()
        .expect("it runs");
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("a server works in data_dir"), "{text}");
    assert!(
        text.contains("key file") && text.contains("for its owner alone"),
        "{text}"
    );
}
