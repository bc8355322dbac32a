//! Starting: the command line, the ready line, configuration from everywhere, and one clear line when it cannot be done.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Invite, OutOfDialog, Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpClient, ServerBuilder, TempDir, free_address};

const BINARY: &str = env!("CARGO_BIN_EXE_confab");
const WAIT: Duration = Duration::from_secs(10);

fn confab(directory: &Path, arguments: &[&str]) -> Output {
    // The address settings keep a server that should not have started away from other people's ports.
    Command::new(BINARY)
        .args(arguments)
        .current_dir(directory)
        .env("CONFAB__HTTP__BIND", "127.0.0.1:0")
        .env("CONFAB__HTTP__ADMIN_BIND", "127.0.0.1:0")
        .output()
        .expect("it runs")
}

/// Checks that a start failed with exit code 1 and one line that contains all of `words`.
#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        output.stdout.is_empty(),
        "nothing is ready: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let complaint = error.lines().last().unwrap_or_default();
    assert!(
        words.iter().all(|word| complaint.contains(word)),
        "{words:?} not all in: {error}"
    );
    assert!(
        !error.contains("panicked") && !error.contains("backtrace"),
        "{error}"
    );
    let others = error
        .lines()
        .filter(|line| line.to_lowercase().contains("error"))
        .count();
    assert!(others <= 1, "more than one complaint:\n{error}");
}

#[test]
fn version_and_help_are_there() {
    let directory = TempDir::new("start").expect("a directory");
    let version = confab(directory.path(), &["--version"]);
    assert!(version.status.success());
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        format!("confab {}", env!("CARGO_PKG_VERSION"))
    );
    let help = confab(directory.path(), &["--help"]);
    assert!(help.status.success());
    for word in ["serve", "check-config", "--config", "--data-dir"] {
        let all = [
            &help.stdout[..],
            &confab(directory.path(), &["serve", "--help"]).stdout,
        ]
        .concat();
        assert!(String::from_utf8_lossy(&all).contains(word), "{word}");
    }
    assert!(
        fs::read_dir(directory.path()).expect("readable").next().is_none(),
        "help leaves nothing behind"
    );
}

/// Kills a process that a failing test would leave behind.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_arguments_it_serves_with_the_defaults() {
    let directory = TempDir::new("plain").expect("a directory");
    let mut child = Command::new(BINARY)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)
        .expect("it runs");
    let mut line = String::new();
    let output = child.0.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("readable");
    if line.is_empty() {
        // Something else on this machine has one of the well-known ports: then this has to be said.
        let mut error = String::new();
        child
            .0
            .stderr
            .take()
            .expect("a pipe")
            .read_to_string(&mut error)
            .expect("readable");
        println!(
            "a default port is taken: {}",
            error.lines().last().unwrap_or_default()
        );
        assert!(error.contains("in use"), "{error}");
        return;
    }
    assert_eq!(
        line,
        "confab ready http=0.0.0.0:8000 sip=0.0.0.0:5060 websocket=0.0.0.0:5555\n"
    );
    assert!(directory.path().join("confab-data").is_dir());
    let server = "127.0.0.1:5060".parse().expect("an address");
    let phone = Phone::udp(server).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let tone = Source::tone(Law::Mu, 1000.0, -20.0);
    let talker = Participant::join(&phone, &engine, "3000", Some(tone)).expect("answered");
    let listener = Participant::join(&phone, &engine, "3000", None).expect("answered");
    // Both are welcomed and told that they join before they hear each other.
    let asked = Instant::now();
    loop {
        listener.stream.set_capture(CaptureMode::Full);
        std::thread::sleep(Duration::from_millis(700));
        let heard = listener.stream.take_capture().samples();
        let level = meter::tone_dbfs(&heard[..4000.min(heard.len())], 8000, 1000.0);
        if (level + 20.0).abs() < 1.0 {
            break;
        }
        assert!(asked.elapsed() < 3 * WAIT, "{level:.0} dBFS");
    }
    talker.leave().expect("left");
    listener.leave().expect("left");
}

#[test]
fn configurations_are_checked_with_file_key_and_line() {
    let directory = TempDir::new("config").expect("a directory");
    let check = |text: &str| {
        fs::write(directory.path().join("c.toml"), text).expect("written");
        confab(directory.path(), &["check-config", "--config", "c.toml"])
    };
    assert_eq!(check("[sip]\nmax_calls = 7\n").status.code(), Some(0));
    assert_eq!(check("").status.code(), Some(0), "every key has a default");
    assert_refused(&check("[sip]\n\nmax_cals = 7\n"), &["c.toml", "max_cals", "3"]);
    assert_refused(&check("[sip\n"), &["c.toml", "1"]);
    assert_refused(
        &check("[sip]\nmax_calls = \"many\"\n"),
        &["c.toml", "max_calls", "2"],
    );
    assert_refused(&check("[sip]\nudp = [\"nowhere\"]\n"), &["c.toml", "udp"]);
    assert_refused(
        &check("[recording]\nrate = 11025\n"),
        &["recording.rate", "must be one of 8000"],
    );
    assert_refused(
        &check("[sip]\nws = [\"127.0.0.1:5060\"]\n"),
        &["c.toml", "sip.ws", "sip.tcp wants 0.0.0.0:5060"],
    );
    let idle = check("[sip]\ntls_cert = \"c.pem\"\n");
    assert_eq!(idle.status.code(), Some(0));
    let told = String::from_utf8_lossy(&idle.stderr);
    assert!(
        told.contains("sip.tls_cert: set, but sip.tls and sip.wss are empty"),
        "{told}"
    );
    let missing = confab(directory.path(), &["check-config", "--config", "none.toml"]);
    assert_refused(&missing, &["none.toml"]);
    fs::write(directory.path().join("c.toml"), "[sip]\nmax_cals = 7\n").expect("written");
    assert_refused(
        &confab(directory.path(), &["serve", "--config", "c.toml"]),
        &["c.toml", "max_cals"],
    );
    let from_environment = Command::new(BINARY)
        .args(["check-config"])
        .current_dir(directory.path())
        .env("CONFAB__SIP__MAX_CALS", "7")
        .output()
        .expect("it runs");
    assert_eq!(from_environment.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&from_environment.stderr).contains("CONFAB__SIP__MAX_CALS"));
}

#[test]
fn a_port_in_use_is_named() {
    let directory = TempDir::new("ports").expect("a directory");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address").to_string();
    let free = free_address().expect("a port");
    let text = format!("[sip]\nudp = [\"{address}\"]\ntcp = [\"{free}\"]\n");
    fs::write(directory.path().join("c.toml"), text).expect("written");
    assert_refused(
        &confab(directory.path(), &["serve", "--config", "c.toml"]),
        &[&address, "in use"],
    );

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let output = Command::new(BINARY)
        .current_dir(directory.path())
        .env("CONFAB__HTTP__BIND", &address)
        .env("CONFAB__HTTP__ADMIN_BIND", "127.0.0.1:0")
        .env("CONFAB__SIP__UDP", "[\"127.0.0.1:0\"]")
        .env("CONFAB__SIP__TCP", "[\"127.0.0.1:0\"]")
        .output()
        .expect("it runs");
    assert_refused(&output, &[&address, "in use", "http.bind"]);
}

#[test]
fn an_unusable_data_directory_is_named() {
    let directory = TempDir::new("data").expect("a directory");
    let file = directory.path().join("occupied");
    fs::write(&file, "not a directory").expect("written");
    // A test that runs as root can read everything, so the obstacles are such that stop root as well.
    for path in [
        file.to_string_lossy().into_owned(),
        "/proc/confab-data".to_owned(),
    ] {
        let free = free_address().expect("a port");
        let text = format!("[sip]\nudp = [\"{free}\"]\ntcp = [\"{free}\"]\n");
        fs::write(directory.path().join("c.toml"), text).expect("written");
        assert_refused(
            &confab(
                directory.path(),
                &["serve", "--config", "c.toml", "--data-dir", &path],
            ),
            &[&path],
        );
    }
    let broken = directory.path().join("broken");
    fs::create_dir(&broken).expect("made");
    let server = ServerBuilder::new(BINARY).start().expect("started");
    let database = fs::read_dir(server.directory().join("data"))
        .expect("readable")
        .filter_map(Result::ok);
    let database = database.map(|entry| entry.file_name()).find(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".db") || name.ends_with(".sqlite") || name.ends_with(".sqlite3")
    });
    let database = database.expect("a database file in the data directory");
    fs::write(
        broken.join(&database),
        b"this is no database, whatever its name says".repeat(100),
    )
    .expect("written");
    let path = broken.to_string_lossy().into_owned();
    assert_refused(
        &confab(
            directory.path(),
            &["serve", "--config", "c.toml", "--data-dir", &path],
        ),
        &["broken"],
    );
}

#[test]
fn two_servers_do_not_share_a_data_directory() {
    let mut first = ServerBuilder::new(BINARY).start().expect("started");
    let directory = TempDir::new("second").expect("a directory");
    let data = first.directory().join("data").to_string_lossy().into_owned();
    let free = free_address().expect("a port");
    let text = format!("[sip]\nudp = [\"{free}\"]\ntcp = [\"{free}\"]\n[media]\nbind = [\"127.0.0.1\"]\n");
    fs::write(directory.path().join("c.toml"), text).expect("written");
    let second = || {
        confab(
            directory.path(),
            &["serve", "--config", "c.toml", "--data-dir", &data],
        )
    };
    let output = second();
    assert_refused(&output, &["another server works in", &data]);
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    first.stop(WAIT).expect("stopped");
    let text = format!(
        "[http]\nbind = \"127.0.0.1:0\"\nwebsocket_bind = \"\"\nadmin_bind = \"\"\n[sip]\nudp = [\"{free}\"]\ntcp = [\"{free}\"]\n\
         [media]\nbind = [\"192.0.2.77\"]\n"
    );
    fs::write(directory.path().join("c.toml"), text).expect("written");
    let output = second();
    assert_refused(
        &output,
        &[
            "media.bind: cannot listen on 192.0.2.77",
            "does not have the address",
            "set media.bind",
        ],
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr)
            .matches("os error 99")
            .count(),
        1
    );
}

#[test]
fn the_environment_overrides_the_file_and_port_zero_is_resolved() {
    let server = ServerBuilder::new(BINARY)
        .set("sip.udp", "[\"127.0.0.1:0\"]")
        .set("sip.tcp", "[\"127.0.0.1:0\"]")
        .set("sip.max_calls", "5")
        .env("CONFAB__SIP__MAX_CALLS", "1")
        .start()
        .expect("started");
    println!(
        "ready after {:?}, {:?}",
        server.start_time,
        server.usage().expect("usage")
    );
    assert!(server.sip.port() != 0 && server.http.port() != 0);
    assert!(server.further_output().is_empty(), "one line on standard output");
    let phone = Phone::udp(server.sip).expect("a phone");
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let first = phone.invite(Invite::to("3000", &offer)).expect("sent");
    first.wait_answer(WAIT).expect("answered");
    let second = phone.invite(Invite::to("3000", &offer)).expect("sent");
    assert_eq!(second.wait_final(WAIT).expect("a response").status(), Some(503));
    first.bye(WAIT).expect("ended");
}

#[test]
fn the_first_start_says_how_to_begin_and_a_second_keeps_quiet() {
    let directory = TempDir::new("first").expect("a directory");
    let start = |builder: ServerBuilder| {
        let data = directory.path().join("shared-data");
        builder
            .env("CONFAB__DATA_DIR", &data.to_string_lossy())
            .start()
            .expect("started")
    };
    let builder = || ServerBuilder::new(BINARY).without_data_dir();
    let mut server = start(
        builder()
            .set("bootstrap.api_key", "\"\"")
            .set("bootstrap.account_id", "\"\""),
    );
    let log = server.log();
    let key = log
        .split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() == 64);
    let key = key.unwrap_or_else(|| panic!("no API key in\n{log}")).to_owned();
    for word in ["sip:3000@", "curl"] {
        assert!(log.contains(word), "{word} is not in\n{log}");
    }
    let account = log
        .split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() == 32)
        .expect("an account id");
    HttpClient::log_in(server.http, account, &key).expect("the printed key works");
    let curl = log
        .lines()
        .find_map(|line| Some(&line[line.find("curl ")?..]))
        .expect("a curl line");
    let output = Command::new("sh").args(["-c", curl]).output().expect("curl runs");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\"success\""),
        "{curl}\n{output:?}"
    );
    assert_eq!(
        server
            .stop(Duration::from_secs(5))
            .expect("stopped")
            .0
            .and_then(|s| s.code()),
        Some(0)
    );

    let again = start(builder());
    assert!(
        !again.log().contains(&key),
        "secrets are printed once:\n{}",
        again.log()
    );
    HttpClient::log_in(again.http, account, &key).expect("the key is still the same");
}

#[test]
fn health_and_metrics_answer() {
    let server = ServerBuilder::new(BINARY).start().expect("started");
    let public = HttpClient::anonymous(server.http);
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(
            public.request("GET", path, None).expect("answered").status,
            200,
            "{path}"
        );
    }
    let metrics = server.metrics().expect("metrics");
    for name in [
        "confab_tick_lateness_seconds_count",
        "confab_tick_duration_seconds_count",
        "confab_ticks_skipped_total",
    ] {
        assert!(metrics.sum(name).is_some(), "{name}");
    }
    assert_ne!(
        public.request("GET", "/metrics", None).expect("answered").status,
        200,
        "not without a token"
    );
    let api = server.api().expect("a login");
    assert_eq!(
        api.request("GET", "/metrics", None).expect("answered").status,
        200,
        "with the master token"
    );
    let phone = Phone::udp(server.sip).expect("a phone");
    assert_eq!(
        phone
            .request(OutOfDialog::new("OPTIONS"), WAIT)
            .expect("answered")
            .status(),
        Some(200)
    );
}
