//! HTTPS: the same API over TLS, and certificates that are exchanged while the server runs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_testkit::server::{API_KEY, Server, ServerBuilder, TempDir, free_address};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const BINARY: &str = env!("CARGO_BIN_EXE_confab");
const WAIT: Duration = Duration::from_secs(10);

/// A folder with the certificate and key that a server is started with.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let folder = Self(TempDir::new("certificates").expect("a directory"));
        folder.exchange();
        folder
    }

    /// Writes another certificate for localhost over the one before, and returns a copy that stays.
    fn exchange(&self) -> PathBuf {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(self.certificate(), cert.pem()).expect("written");
        fs::write(self.key(), signing_key.serialize_pem()).expect("written");
        self.keep()
    }

    fn keep(&self) -> PathBuf {
        let number = fs::read_dir(self.0.path()).expect("readable").count();
        let copy = self.0.path().join(format!("kept-{number}.pem"));
        fs::copy(self.certificate(), &copy).expect("copied");
        copy
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn server(&self, https: SocketAddr) -> ServerBuilder {
        ServerBuilder::new(BINARY)
            .set("http.tls_bind", &format!("\"{https}\""))
            .set("http.tls_cert", &quoted(&self.certificate()))
            .set("http.tls_key", &quoted(&self.key()))
    }
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
    command.args(arguments).output().expect("curl runs")
}

/// Asks whether the server lives, trusting `authority` only.
fn alive(https: SocketAddr, authority: &Path) -> Output {
    let url = format!("https://localhost:{}/health/live", https.port());
    curl(&[
        "--cacert",
        &authority.to_string_lossy(),
        "--write-out",
        "%{http_code} %{http_version}",
        &url,
    ])
}

fn wait_for_log(server: &Server, words: &str) {
    let deadline = Instant::now() + WAIT;
    while !server.log().contains(words) {
        assert!(Instant::now() < deadline, "no '{words}' in the log");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_api_is_the_same_over_tls() {
    let certificates = Certificates::new();
    let https = free_address().expect("a port");
    let server = certificates.server(https).start().expect("started");
    let authority = certificates.certificate();
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let live = alive(https, &authority);
    assert!(live.status.success(), "{}", String::from_utf8_lossy(&live.stderr));
    assert!(text(&live).contains("200 "), "{}", text(&live));

    let base = format!("https://localhost:{}/v2", https.port());
    let login = curl(&[
        "--cacert",
        &authority.to_string_lossy(),
        "--http1.1",
        "-X",
        "PUT",
        "-d",
        &format!("{{\"data\":{{\"api_key\":\"{API_KEY}\"}}}}"),
        &format!("{base}/api_auth"),
    ]);
    let answer: serde_json::Value = serde_json::from_slice(&login.stdout).expect("JSON");
    let (token, account) = (&answer["auth_token"], &answer["data"]["account_id"]);
    let token = token.as_str().expect("a token");
    // A token that came by TLS is good on the plain address too, and the other way round: it is one API.
    // Who would rather have HTTP/2 gets HTTP/1.1.
    for version in ["--http1.1", "--http2"] {
        let list = curl(&[
            "--cacert",
            &authority.to_string_lossy(),
            version,
            "-H",
            &format!("X-Auth-Token: {token}"),
            &format!("{base}/accounts/{}/conferences", account.as_str().expect("an id")),
        ]);
        let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
        assert_eq!(list["status"], "success", "{version}: {list}");
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1), "{version}");
    }
    let plain = curl(&[&format!("http://{}/health/live", server.http)]);
    assert!(plain.status.success());

    // Nobody is served whom the certificate does not convince, or who does not speak TLS.
    let untrusting = curl(&[&format!("{base}/api_auth")]);
    assert_eq!(untrusting.status.code(), Some(60), "{untrusting:?}");
    let without_tls = curl(&[&format!("http://localhost:{}/health/live", https.port())]);
    assert!(!without_tls.status.success());
}

/// A connection that is kept open over several requests.
struct Kept(StreamOwned<ClientConnection, TcpStream>);

impl Kept {
    fn open(https: SocketAddr, authority: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(authority).expect("a certificate");
        roots.add(certificate).expect("trusted");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let stream = TcpStream::connect(https).expect("connected");
        stream.set_read_timeout(Some(WAIT)).expect("set");
        Self(StreamOwned::new(connection, stream))
    }

    fn status_line(&mut self) -> String {
        self.0
            .write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("written");
        let mut reader = BufReader::new(&mut self.0);
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).expect("an answer");
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).expect("a body");
        first
    }
}

#[test]
fn sighup_exchanges_the_certificate_and_keeps_connections() {
    let certificates = Certificates::new();
    let https = free_address().expect("a port");
    let server = certificates.server(https).start().expect("started");
    let first = certificates.keep();
    let mut kept = Kept::open(https, &first);
    assert!(kept.status_line().contains("200"));

    let second = certificates.exchange();
    assert!(
        alive(https, &first).status.success(),
        "files are read when told to, not before"
    );
    server.signal(libc::SIGHUP).expect("sent");
    wait_for_log(&server, "new certificate");
    assert!(alive(https, &second).status.success());
    assert_eq!(alive(https, &first).status.code(), Some(60));
    assert!(
        kept.status_line().contains("200"),
        "a connection outlives its certificate"
    );

    // Half of an exchange: the key does not fit.
    let third = {
        let key = fs::read(certificates.key()).expect("readable");
        let copy = certificates.exchange();
        fs::write(certificates.key(), key).expect("written");
        copy
    };
    server.signal(libc::SIGHUP).expect("sent");
    wait_for_log(&server, "certificate not reloaded, going on with the one in use");
    assert!(
        server.log().contains("http.tls_key"),
        "the key of the configuration is named"
    );
    assert!(alive(https, &second).status.success());
    assert!(!alive(https, &third).status.success());
    assert!(kept.status_line().contains("200"));
}

#[test]
fn websockets_speak_tls_on_an_address_of_their_own() {
    let certificates = Certificates::new();
    let (https, wss) = (free_address().expect("a port"), free_address().expect("a port"));
    let _server = certificates
        .server(https)
        .set("http.websocket_tls_bind", &format!("\"{wss}\""))
        .start()
        .expect("started");
    let mut stream = Kept::open(wss, &certificates.certificate()).0;
    let request = "GET /any/path HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).expect("an answer");
        head.extend(octet);
    }
    let head = String::from_utf8_lossy(&head);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // RFC 6455 §1.3 has this key and this answer.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // One masked text frame, and the first octets of its answer: a text frame, not masked, of less than 126 octets.
    let ping = br#"{"action":"ping","request_id":"r1"}"#;
    let mut frame = vec![0x81, 0x80 | ping.len() as u8, 0, 0, 0, 0];
    frame.extend(ping);
    stream.write_all(&frame).expect("written");
    let mut start = [0; 2];
    stream.read_exact(&mut start).expect("a frame");
    assert_eq!((start[0], start[1] & 0x80), (0x81, 0));
    let mut reply = vec![0; start[1].into()];
    stream.read_exact(&mut reply).expect("a frame");
    let reply: serde_json::Value = serde_json::from_slice(&reply).expect("JSON");
    assert_eq!(
        (&reply["request_id"], &reply["data"]["response"]),
        (&"r1".into(), &"pong".into())
    );
}

#[test]
fn peers_that_never_finish_a_handshake_hold_nobody_up() {
    let certificates = Certificates::new();
    let https = free_address().expect("a port");
    let _server = certificates.server(https).start().expect("started");
    let silent: Vec<TcpStream> = (0..50)
        .map(|_| TcpStream::connect(https).expect("connected"))
        .collect();
    let asked = Instant::now();
    assert!(alive(https, &certificates.certificate()).status.success());
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    drop(silent);
}

#[test]
fn files_that_cannot_be_used_are_named_with_key_and_line() {
    let (certificates, other) = (Certificates::new(), Certificates::new());
    let folder = TempDir::new("tls-config").expect("a directory");
    let check = |command: &str, certificate: &str, key: &str| {
        let text = format!(
            "[http]\nbind = \"127.0.0.1:0\"\nadmin_bind = \"\"\ntls_bind = \"127.0.0.1:0\"\ntls_cert = {certificate}\ntls_key = {key}\n"
        );
        fs::write(folder.path().join("c.toml"), text).expect("written");
        let mut confab = Command::new(BINARY);
        confab
            .args([command, "--config", "c.toml"])
            .current_dir(folder.path());
        confab.output().expect("it runs")
    };
    let (good, key) = (quoted(&certificates.certificate()), quoted(&certificates.key()));
    assert!(check("check-config", &good, &key).status.success());
    let rows = [
        (good.as_str(), "\"\"", "c.toml:6: http.tls_key: is empty"),
        (
            "\"none.pem\"",
            key.as_str(),
            "c.toml:5: http.tls_cert: none.pem cannot be read",
        ),
        (
            good.as_str(),
            &quoted(&other.key()),
            "is not the key of the certificate in",
        ),
        (key.as_str(), key.as_str(), "has no certificate in it"),
        (good.as_str(), good.as_str(), "has no private key in it"),
    ];
    for (certificate, key, words) in rows {
        for command in ["check-config", "serve"] {
            let output = check(command, certificate, key);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command}: {error}");
            assert!(error.contains(words), "{command}: {words}: {error}");
        }
    }
}

#[test]
fn an_open_address_without_tls_is_warned_of() {
    let open = free_address().expect("a port").port();
    let certificates = Certificates::new();
    let warning = "http.bind is reached from other machines without TLS";
    let plain = ServerBuilder::new(BINARY).set("http.bind", &format!("\"0.0.0.0:{open}\""));
    let server = plain.start().expect("started");
    assert!(server.log().contains(warning), "{}", server.log());
    drop(server);
    let server = ServerBuilder::new(BINARY).start().expect("started");
    assert!(!server.log().contains(warning), "loopback only: {}", server.log());
    drop(server);
    let secured = certificates.server(free_address().expect("a port"));
    let server = secured
        .set("http.bind", &format!("\"0.0.0.0:{open}\""))
        .start()
        .expect("started");
    assert!(
        server.log().contains(warning),
        "whoever asks there is not asked over TLS"
    );
    let other = "http.websocket_bind is reached from other machines without TLS";
    assert!(!server.log().contains(other), "{}", server.log());
    drop(server);
    let sockets = ServerBuilder::new(BINARY).set("http.websocket_bind", "\"0.0.0.0:0\"");
    let server = sockets.start().expect("started");
    assert!(server.log().contains(other), "{}", server.log());
}
