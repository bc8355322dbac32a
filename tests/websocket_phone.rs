//! A phone in a browser, as the server sees it: it registers over its WebSocket, is called over it, calls in, is heard and hears; and what speaks no SIP
//! is let in at no door.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Participant, Phone, RemoteAudio, SipMessage, digest};
use confab_testkit::codec::Codec;
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source, Stream};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, TempDir, exclusive, free_address};
use rcgen::generate_simple_self_signed;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

const WAIT: Duration = Duration::from_secs(10);
const REALM: &str = "phones.example";
const PASSWORD: &str = "open-sesame";
const RATE_HZ: u32 = 8000;
const LEVEL_DBFS: f64 = -26.0;
/// What a browser calls itself: it does not know its address (RFC 7118 §5).
const HOST: &str = "df7jal23ls0d.invalid";

struct Site {
    server: Server,
    ws: SocketAddr,
    api: HttpClient,
    device: String,
}

impl Site {
    fn start() -> Site {
        let ws = free_address().expect("an address");
        let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .set("bootstrap.realm", &format!("\"{REALM}\""))
            .set("sip.ws", &format!("[\"{ws}\"]"))
            .start()
            .expect("started");
        let api = server.api().expect("a login");
        let data = json!({"name": "browser", "sip": {"username": "bob", "password": PASSWORD}});
        let made = api
            .account("PUT", "/devices", Some(&json!({ "data": data })))
            .expect("answered");
        let device = made.json()["data"]["id"].as_str().expect("an id").to_owned();
        Site {
            server,
            ws,
            api,
            device,
        }
    }

    fn registered(&self) -> usize {
        let answer = self
            .api
            .account("GET", "/devices/status", None)
            .expect("answered");
        answer.json()["data"].as_array().expect("a list").len()
    }
}

/// A phone over a WebSocket.
struct Browser {
    socket: WebSocket<TcpStream>,
    server: SocketAddr,
    cseq: u32,
}

impl Browser {
    fn connect(server: SocketAddr) -> Browser {
        let stream = TcpStream::connect(server).expect("connected");
        stream.set_read_timeout(Some(WAIT)).expect("set");
        let mut request = format!("ws://{server}/any/path")
            .into_client_request()
            .expect("a request");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
        let (socket, response) = client(request, stream).expect("let in");
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
        Browser {
            socket,
            server,
            cseq: 0,
        }
    }

    fn send(&mut self, message: &SipMessage) {
        let text = String::from_utf8(message.to_bytes()).expect("text");
        self.socket.send(Message::text(text)).expect("sent");
    }

    /// Waits for the next SIP message that fits.
    fn wait(&mut self, what: &str, fits: impl Fn(&SipMessage) -> bool) -> SipMessage {
        let deadline = Instant::now() + WAIT;
        while Instant::now() < deadline {
            let message = self
                .socket
                .read()
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            if let Message::Text(text) = message {
                let message = SipMessage::parse(text.as_bytes()).expect("a message");
                if fits(&message) {
                    return message;
                }
            }
        }
        panic!("{what} did not come");
    }

    fn request(&mut self, method: &str, uri: &str, to: &str, call: &str) -> SipMessage {
        self.cseq += 1;
        SipMessage::request(method, uri)
            .with("Via", format!("SIP/2.0/WS {HOST};branch=z9hG4bK{}", self.cseq))
            .with("Max-Forwards", 70)
            .with("From", format!("<sip:bob@{REALM}>;tag=bob"))
            .with("To", to)
            .with("Call-ID", call)
            .with("CSeq", format!("{} {method}", self.cseq))
            .with("Contact", format!("<sip:bob@{HOST};transport=ws>;expires=300"))
    }

    /// Asks with a request until it has shown the password, and returns the final response.
    fn ask(&mut self, method: &str, uri: &str, to: &str, call: &str, body: Option<String>) -> SipMessage {
        let mut authorization = None;
        loop {
            let mut request = self.request(method, uri, to, call);
            if let Some(value) = authorization.take() {
                request = request.with("Authorization", value);
            }
            if let Some(body) = &body {
                request = request.with_body("application/sdp", body.as_str());
            }
            self.send(&request);
            let number = self.cseq;
            let response = self.wait(method, |message| {
                message.status().is_some_and(|status| status >= 200)
                    && message.cseq() == Some((number, method))
            });
            if method == "INVITE" {
                let end = SipMessage::request("ACK", response.contact_uri().unwrap_or(uri))
                    .with(
                        "Via",
                        format!(
                            "SIP/2.0/WS {HOST};branch=z9hG4bK{number}{}",
                            if response.status() == Some(200) { "a" } else { "" }
                        ),
                    )
                    .with("Max-Forwards", 70)
                    .with("From", request.header("From").expect("From"))
                    .with("To", response.header("To").expect("To"))
                    .with("Call-ID", call)
                    .with("CSeq", format!("{number} ACK"));
                self.send(&end);
            }
            if response.status() != Some(401) || request.header("Authorization").is_some() {
                return response;
            }
            authorization = digest::answer(&response, method, uri, "bob", PASSWORD);
        }
    }

    fn register(&mut self) -> SipMessage {
        let record = format!("<sip:bob@{REALM}>");
        self.ask("REGISTER", &format!("sip:{REALM}"), &record, "registration", None)
    }

    fn respond(&mut self, request: &SipMessage, status: u16, reason: &str, body: Option<String>) {
        let mut response = SipMessage::response(request, status, reason);
        for (name, value) in &mut response.headers {
            if name.eq_ignore_ascii_case("to") && !value.contains("tag=") {
                value.push_str(";tag=bob");
            }
        }
        response = response.with("Contact", format!("<sip:bob@{HOST};transport=ws>"));
        if let Some(body) = body {
            response = response.with_body("application/sdp", body);
        }
        self.send(&response);
    }
}

fn level_of(stream: &Stream, frequency_hz: f64) -> f64 {
    stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(1300));
    let samples = stream.take_capture().samples();
    assert!(samples.len() >= RATE_HZ as usize, "{} samples", samples.len());
    meter::tone_dbfs(&samples[..RATE_HZ as usize], RATE_HZ, frequency_hz)
}

#[track_caller]
fn is_loud(stream: &Stream, frequency_hz: f64) {
    let level = level_of(stream, frequency_hz);
    assert!(
        (level - LEVEL_DBFS).abs() < 1.5,
        "{frequency_hz} Hz at {level:.1} dBFS"
    );
}

#[test]
fn a_browser_registers_is_called_calls_in_and_is_heard_both_ways() {
    let _alone = exclusive();
    let site = Site::start();
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let tone = Source::tone(Law::Mu, 700.0, LEVEL_DBFS);
    let ann = Participant::join_as(&phone, &engine, "3000", Some(tone), "ann", "Ann").expect("joined");
    let conference = site.server.first_conference().expect("the API");

    let mut browser = Browser::connect(site.ws);
    let response = browser.register();
    assert_eq!(response.status(), Some(200), "{response:?}");
    assert!(
        response
            .header("Via")
            .expect("a Via")
            .starts_with(&format!("SIP/2.0/WS {HOST}"))
    );
    assert_eq!(site.registered(), 1);
    browser.socket.send(Message::text("\r\n\r\n")).expect("sent");
    assert_eq!(browser.socket.read().expect("a pong"), Message::text("\r\n"));

    // It is called over its WebSocket, though its Contact leads nowhere.
    let (api, path) = (site.api.clone(), format!("/conferences/{}", conference.id()));
    let body = json!({"action": "dial", "data": {"data": {"endpoints": [site.device]}}});
    let dial = std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"));
    let invite = browser.wait("INVITE", |message| message.method() == Some("INVITE"));
    assert!(invite.start_line.contains(HOST), "{}", invite.start_line);
    assert!(
        invite.header("Via").expect("a Via").starts_with("SIP/2.0/WS "),
        "{invite:?}"
    );
    let contact = invite.contact_uri().expect("a Contact").to_owned();
    assert!(
        contact.contains(&site.ws.to_string()) && contact.contains("transport=ws"),
        "{contact}"
    );
    let offer = RemoteAudio::parse(&invite.body).expect("an offer");
    let stream = engine.open(browser.server.ip()).expect("a stream");
    let answer = AudioOffer::new(stream.local_addr()).answering(&offer, Codec::Pcmu);
    browser.respond(&invite, 180, "Ringing", None);
    browser.respond(&invite, 200, "OK", Some(answer.to_string()));
    browser.wait("ACK", |message| message.method() == Some("ACK"));
    stream.set_formats(&answer.formats);
    stream.set_remote(offer.address);
    stream.set_source(Some(Source::tone(Law::Mu, 1100.0, LEVEL_DBFS)));
    let told: Value = dial.join().expect("no panic").json();
    assert_eq!(
        told["data"]["endpoint_responses"][0]["status"], "success",
        "{told}"
    );
    is_loud(&stream, 700.0);
    is_loud(&ann.stream, 1100.0);
    let list = conference.participants().expect("the API");
    let bob = list
        .iter()
        .filter_map(|one| one["participant_id"].as_u64())
        .max()
        .expect("he is in");
    conference.act_on(bob, "kick").expect("kicked");
    let bye = browser.wait("BYE", |message| message.method() == Some("BYE"));
    browser.respond(&bye, 200, "OK", None);
    stream.close();

    // It calls in.
    let stream = engine.open(browser.server.ip()).expect("a stream");
    let offer = AudioOffer::new(stream.local_addr()).only(Codec::Pcmu);
    let uri = format!("sip:3000@{REALM}");
    let response = browser.ask(
        "INVITE",
        &uri,
        &format!("<{uri}>"),
        "its-call",
        Some(offer.to_string()),
    );
    assert_eq!(response.status(), Some(200), "{response:?}");
    let answer = RemoteAudio::parse(&response.body).expect("an answer");
    stream.set_formats(&offer.formats);
    stream.set_remote(answer.address);
    stream.set_source(Some(Source::tone(Law::Mu, 1300.0, LEVEL_DBFS)));
    conference
        .wait_participants(WAIT, |list| list.len() == 2)
        .expect("both are in");
    is_loud(&stream, 700.0);
    is_loud(&ann.stream, 1300.0);

    // The WebSocket is the only way to it: without it, it is not there.
    drop(browser);
    let deadline = Instant::now() + WAIT;
    while site.registered() != 0 {
        assert!(Instant::now() < deadline, "{}", site.server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_speaks_no_sip_is_not_let_in_and_what_is_too_long_is_cut_off() {
    let site = Site::start();
    let mut stream = TcpStream::connect(site.ws).expect("connected");
    stream.set_read_timeout(Some(WAIT)).expect("set");
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        site.ws
    )
    .expect("written");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("subprotocol sip"), "{answer}");

    let mut browser = Browser::connect(site.ws);
    let long = "x".repeat(70_000);
    // The server may be gone before all of it is written.
    let _ = browser.socket.send(Message::text(long));
    assert!(browser.socket.read().is_err(), "closed");
    site.server
        .wait_metrics(WAIT, |metrics| {
            metrics.labelled("confab_sip_transport_errors_total", "kind", "websocket_failed") >= 1.0
        })
        .expect("counted");

    // Nonsense in a message does no harm to those that follow.
    let mut browser = Browser::connect(site.ws);
    browser
        .socket
        .send(Message::text("nonsense\r\n\r\n"))
        .expect("sent");
    browser
        .socket
        .send(Message::binary(vec![0xff; 100]))
        .expect("sent");
    assert_eq!(browser.register().status(), Some(200));
}

#[test]
fn browsers_come_over_tls() {
    let folder = TempDir::new("wss").expect("a directory");
    let made = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        format!("{:?}", path.to_string_lossy())
    };
    let wss = free_address().expect("an address");
    let _server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.wss", &format!("[\"{wss}\"]"))
        .set("sip.tls_cert", &file("cert.pem", made.cert.pem()))
        .set("sip.tls_key", &file("key.pem", made.signing_key.serialize_pem()))
        .start()
        .expect("started");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let stream = TcpStream::connect(wss).expect("connected");
    stream.set_read_timeout(Some(WAIT)).expect("set");
    let mut request = format!("wss://localhost:{}/", wss.port())
        .into_client_request()
        .expect("a request");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
    let (mut socket, _) = client(request, StreamOwned::new(session, stream)).expect("let in");
    let options = SipMessage::request("OPTIONS", "sips:3000@localhost")
        .with("Via", format!("SIP/2.0/WSS {HOST};branch=z9hG4bK1"))
        .with("From", "<sip:a@b.invalid>;tag=1")
        .with("To", "<sips:3000@localhost>")
        .with("Call-ID", "1")
        .with("CSeq", "1 OPTIONS");
    socket.send(Message::binary(options.to_bytes())).expect("sent");
    let answer = socket.read().expect("an answer").into_text().expect("text");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(answer.contains(&format!("SIP/2.0/WSS {HOST}")), "{answer}");
}
