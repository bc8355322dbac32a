//! A phone behind a NAT calls a server on another host, or registers there and is called, each host a network namespace: it hears and is heard, also
//! after the NAT has given it other ports in the middle of the call.
//!
//! Wants to be root, with `ip` and `nft`; `tests/run` calls it. The outer test makes the hosts and runs the inner one on the server's.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipAccount, BaresipConfig};
use confab_testkit::server::{Server, ServerBuilder, exclusive};
use serde_json::json;

const SERVER: &str = "198.51.100.1";
const NAT_OUTSIDE: &str = "198.51.100.2";
const NAT_INSIDE: &str = "192.168.50.1";
const PHONE: &str = "192.168.50.2";
/// Tells the inner test the name of the phone's and the NAT's namespaces.
const PHONE_HOST: &str = "CONFAB_NAT_PHONE";
const NAT_HOST: &str = "CONFAB_NAT_ROUTER";

const REALM: &str = "phones.example";
const PASSWORD: &str = "open-sesame";

const RATE: usize = 8000;
const LEVEL_DBFS: f64 = -20.0;
const WAIT: Duration = Duration::from_secs(15);
const ANN_HZ: f64 = 600.0;
const BOB_HZ: f64 = 900.0;

fn run(program: &str, arguments: &str) -> Output {
    let output = Command::new(program)
        .args(arguments.split_ascii_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Three hosts; they go when this goes.
struct Hosts {
    server: String,
    nat: String,
    phone: String,
}

impl Hosts {
    fn new() -> Hosts {
        let name = |what| format!("confab-{what}-{}", std::process::id());
        let hosts = Hosts {
            server: name("server"),
            nat: name("nat"),
            phone: name("phone"),
        };
        for host in hosts.names() {
            run("ip", &format!("netns add {host}"));
            on(host, "ip link set lo up");
        }
        let id = std::process::id() % 100_000;
        for (this, that, label, addresses) in [
            (&hosts.server, &hosts.nat, "s", [SERVER, NAT_OUTSIDE]),
            (&hosts.nat, &hosts.phone, "p", [NAT_INSIDE, PHONE]),
        ] {
            let ends = [format!("c{label}a{id}"), format!("c{label}b{id}")];
            run(
                "ip",
                &format!(
                    "link add {} netns {this} type veth peer name {} netns {that}",
                    ends[0], ends[1]
                ),
            );
            for ((host, end), address) in [this, that].into_iter().zip(&ends).zip(addresses) {
                on(host, &format!("ip address add {address}/24 dev {end}"));
                on(host, &format!("ip link set {end} up"));
            }
        }
        on(&hosts.phone, &format!("ip route add default via {NAT_INSIDE}"));
        on(&hosts.nat, "sysctl -qw net.ipv4.ip_forward=1");
        on(&hosts.nat, "nft add table ip nat");
        on(
            &hosts.nat,
            "nft add chain ip nat post { type nat hook postrouting priority 100 ; }",
        );
        translate(&hosts.nat, "20000-20999");
        hosts
    }

    fn names(&self) -> [&str; 3] {
        [&self.server, &self.nat, &self.phone]
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in self.names() {
            let _ = Command::new("ip").args(["netns", "del", host]).status();
        }
    }
}

fn on(host: &str, command: &str) -> Output {
    run("ip", &format!("netns exec {host} {command}"))
}

/// Gives whatever comes from inside one of these ports, new ones from now on.
fn translate(nat: &str, ports: &str) {
    on(nat, "nft flush chain ip nat post");
    on(
        nat,
        &format!("nft add rule ip nat post ip saddr {PHONE} meta l4proto udp masquerade to :{ports}"),
    );
    // Mappings that are there would stay; so does a NAT lose them when it starts anew.
    on(nat, "conntrack -F");
}

#[test]
#[ignore = "makes network namespaces: as root, by tests/run"]
fn a_phone_behind_a_nat_hears_and_is_heard_and_its_ports_may_change() {
    let hosts = Hosts::new();
    let program = std::env::current_exe().expect("this program");
    let inner = Command::new("ip")
        .args(["netns", "exec", &hosts.server])
        .arg(program)
        .args(["--ignored", "--exact", "--nocapture", "on_the_servers_host"])
        .env(PHONE_HOST, &hosts.phone)
        .env(NAT_HOST, &hosts.nat)
        .output()
        .expect("the inner test");
    println!("{}", String::from_utf8_lossy(&inner.stdout));
    assert!(
        inner.status.success(),
        "{}",
        String::from_utf8_lossy(&inner.stderr)
    );
    assert!(String::from_utf8_lossy(&inner.stdout).contains("1 passed"));
}

/// Returns for how long a tone is away at a stretch at most, in ms, from its first window to its last.
fn longest_gap_ms(heard: &[i16], tone_hz: f64) -> usize {
    let is_there: Vec<bool> = heard
        .chunks_exact(RATE / 50)
        .map(|window| meter::tone_dbfs(window, RATE as u32, tone_hz) > LEVEL_DBFS - 10.0)
        .collect();
    let first = is_there
        .iter()
        .position(|there| *there)
        .expect("the tone is heard");
    let last = is_there
        .iter()
        .rposition(|there| *there)
        .expect("the tone is heard");
    let mut gaps = is_there[first..=last].split(|there| *there).map(<[bool]>::len);
    20 * gaps.by_ref().max().unwrap_or(0)
}

/// Returns for how long a tone is heard in all, in ms.
fn heard_ms(heard: &[i16], tone_hz: f64) -> usize {
    let windows = heard.chunks_exact(RATE / 50);
    let there = windows.filter(|window| meter::tone_dbfs(window, RATE as u32, tone_hz) > LEVEL_DBFS - 10.0);
    20 * there.count()
}

#[test]
#[ignore = "the inner half: runs on a host of its own"]
fn on_the_servers_host() {
    let (Ok(phone), Ok(nat)) = (std::env::var(PHONE_HOST), std::env::var(NAT_HOST)) else {
        // Called by itself, it has no hosts.
        return;
    };
    let _alone = exclusive();
    for is_called in [false, true] {
        for media_encryption in [None, Some("srtp-mand")] {
            let way = Way {
                is_called,
                media_encryption,
            };
            way.stands_a_change_of_ports(&phone, &nat);
        }
    }
}

/// How the phone gets into the conference.
#[derive(Debug)]
struct Way {
    /// It registers, and is called; otherwise it calls.
    is_called: bool,
    media_encryption: Option<&'static str>,
}

impl Way {
    fn stands_a_change_of_ports(&self, phone: &str, nat: &str) {
        let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .set("sip.udp", &format!("[\"{SERVER}:5060\"]"))
            .set("sip.tcp", "[]")
            .set("media.bind", &format!("[\"{SERVER}\"]"))
            .set("bootstrap.realm", &format!("\"{REALM}\""))
            .start()
            .expect("started");
        let conference = server.first_conference().expect("the API");
        let target = format!("sip:3000@{SERVER}");
        let says = |tone_hz| meter::sine(tone_hz, LEVEL_DBFS, RATE as u32, 0, 60 * RATE);
        let mut ann = BaresipConfig {
            media_encryption: self.media_encryption,
            host: Some((phone.to_owned(), PHONE.parse().expect("an address"))),
            ..BaresipConfig::new("ann", &target, says(ANN_HZ))
        };
        if self.is_called {
            ann.target = String::new();
            ann.registers = Some(BaresipAccount {
                realm: REALM.to_owned(),
                server: server.sip,
                transport: "udp",
                password: PASSWORD.to_owned(),
                expires_s: 300,
            });
        }
        let mut ann = if self.is_called {
            let device = self.device(&server);
            let ann = Baresip::start(&ann).expect("baresip");
            self.call(&server, conference.id(), &device);
            ann
        } else {
            Baresip::start(&ann).expect("baresip")
        };
        let mut bob = Baresip::start(&BaresipConfig {
            interface: SERVER.to_owned(),
            ..BaresipConfig::new("bob", &target, says(BOB_HZ))
        })
        .expect("baresip");
        for phone in [&ann, &bob] {
            phone.wait_established(WAIT).expect("answered");
        }
        conference
            .wait_participants(WAIT, |list| list.len() == 2)
            .expect("both are in");
        let began = Instant::now();
        std::thread::sleep(Duration::from_secs(4));
        translate(nat, "30000-30999");
        std::thread::sleep(Duration::from_secs(5));
        let together_ms = began.elapsed().as_millis() as usize;
        // Its BYE comes from another port as well.
        ann.hang_up().expect("ended");
        conference
            .wait_participants(WAIT, |list| list.len() == 1)
            .expect("she has left");
        bob.hang_up().expect("ended");
        let (by_ann, by_bob) = (ann.heard().expect("recorded"), bob.heard().expect("recorded"));
        for (user, heard, tone_hz) in [("ann", &by_ann, BOB_HZ), ("bob", &by_bob, ANN_HZ)] {
            // What does not come at all is not in her recording: its length tells of it.
            let gap_ms =
                longest_gap_ms(heard, tone_hz).max(together_ms.saturating_sub(heard_ms(heard, tone_hz)));
            println!("{self:?}: {user} was without audio for {gap_ms} ms at most");
            assert!(gap_ms < 1000, "{user}, {self:?}: {gap_ms} ms");
        }
        translate(nat, "20000-20999");
    }

    /// Makes the phone's device; returns its id.
    fn device(&self, server: &Server) -> String {
        let is_secured = self.media_encryption.is_some();
        let data = json!({
            "name": "Ann", "sip": {"username": "ann", "password": PASSWORD},
            "media": {"encryption": {"enforce_security": is_secured}}
        });
        let api = server.api().expect("a login");
        let answer = api.account("PUT", "/devices", Some(&json!({ "data": data })));
        let answer = answer.expect("answered");
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["data"]["id"].as_str().expect("an id").to_owned()
    }

    /// Has the conference call the phone, once it has registered.
    fn call(&self, server: &Server, conference: &str, device: &str) {
        let api = server.api().expect("a login");
        let deadline = Instant::now() + WAIT;
        loop {
            let listed = api
                .account("GET", "/devices/status", None)
                .expect("answered")
                .json();
            if listed["data"][0]["device_id"] == device {
                break;
            }
            assert!(Instant::now() < deadline, "{listed}\n{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        let body = json!({"action": "dial", "data": {"data": {"endpoints": [device], "timeout": 15}}});
        let answer = api.account("PUT", &format!("/conferences/{conference}"), Some(&body));
        let told = answer.expect("answered").json();
        let told = &told["data"]["endpoint_responses"][0];
        assert_eq!(told["status"], "success", "{told}\n{}", server.log());
    }
}
