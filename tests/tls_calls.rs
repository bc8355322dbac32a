//! Calls over TLS that the server places: baresip is called by the name in its certificate and by no other, and one connection carries what there is
//! to say, a new one where that is gone.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipAccount, BaresipConfig};
use confab_testkit::server::{HttpAnswer, Server, ServerBuilder, TempDir, exclusive, free_address};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);

struct Certificate {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn certificate(name: &str) -> Certificate {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    Certificate {
        pem: cert.pem(),
        key_pem: signing_key.serialize_pem(),
        der: cert.der().clone(),
        key: signing_key.serialize_der().try_into().expect("a key"),
    }
}

/// A server that believes one certificate and shows another one.
struct Site {
    server: Server,
    conference: String,
    _folder: TempDir,
}

impl Site {
    fn start(trusted: &Certificate, own: Option<&Certificate>) -> Site {
        let folder = TempDir::new("tls-calls").expect("a directory");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            format!("{:?}", path.to_string_lossy())
        };
        let mut builder =
            ServerBuilder::new(env!("CARGO_BIN_EXE_confab")).set("sip.tls_ca", &file("ca.pem", &trusted.pem));
        if let Some(own) = own {
            builder = builder
                .set("sip.tls_client_cert", &file("cert.pem", &own.pem))
                .set("sip.tls_client_key", &file("key.pem", &own.key_pem));
        }
        let server = builder.start().expect("started");
        let conference = server.first_conference().expect("the API").id().to_owned();
        Site {
            server,
            conference,
            _folder: folder,
        }
    }

    fn dial(&self, uri: &str) -> std::thread::JoinHandle<HttpAnswer> {
        let api = self.server.api().expect("a login");
        let path = format!("/conferences/{}", self.conference);
        let body = json!({"action": "dial", "data": {"data": {"endpoints": [uri], "timeout": 10}}});
        std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"))
    }

    fn outcome(&self, uri: &str) -> Value {
        outcome(self.dial(uri))
    }
}

fn outcome(dial: std::thread::JoinHandle<HttpAnswer>) -> Value {
    let answer = dial.join().expect("no panic");
    answer.json()["data"]["endpoint_responses"][0].clone()
}

#[test]
fn baresip_is_called_over_tls_by_its_name() {
    let _alone = exclusive();
    let (trusted, other) = (certificate("localhost"), certificate("localhost"));
    let site = Site::start(&trusted, None);
    let phone = |shown: &Certificate| {
        let config = BaresipConfig {
            certificate: Some(format!("{}{}", shown.pem, shown.key_pem)),
            media_encryption: Some("srtp-mand"),
            ..BaresipConfig::new("bob", "", meter::sine(900.0, -20.0, 8000, 0, 30 * 8000))
        };
        Baresip::start(&config).expect("baresip")
    };
    let bob = phone(&trusted);
    let uri = bob.secure_uri("localhost").expect("it listens");
    let told = outcome(site.dial(&uri));
    assert_eq!(
        told["message"],
        "INCOMPATIBLE_DESTINATION",
        "it wants SRTP: {told} {}",
        bob.log()
    );
    let secured = json!({"name": "Bob", "sip": {"invite_format": "route", "route": uri},
        "media": {"encryption": {"enforce_security": true}}});
    let api = site.server.api().expect("a login");
    let path = format!("/conferences/{}", site.conference);
    let body = json!({"action": "dial", "data": {"data": {"endpoints": [secured]}}});
    let answer = api.account("PUT", &path, Some(&body)).expect("answered");
    let told = &answer.json()["data"]["endpoint_responses"][0];
    assert_eq!(
        told["status"],
        "success",
        "{told} {}\n{}",
        bob.log(),
        site.server.log()
    );
    bob.wait_established(WAIT).expect("established");
    let conference = site.server.first_conference().expect("the API");
    conference.act("end").expect("ended");
    bob.wait_closed(WAIT).expect("hung up over TLS");

    let by_address = bob.secure_uri("127.0.0.1").expect("it listens");
    assert_eq!(site.outcome(&by_address)["message"], "DESTINATION_OUT_OF_ORDER");
    let eve = phone(&other);
    let uri = eve.secure_uri("localhost").expect("it listens");
    assert_eq!(site.outcome(&uri)["message"], "DESTINATION_OUT_OF_ORDER");
    let log = site.server.log();
    assert!(log.contains("no TLS handshake with the name"), "{log}");
}

/// A server of SIP over TLS, one connection at a time.
struct TlsPeer {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

type TlsStream = StreamOwned<ServerConnection, TcpStream>;

impl TlsPeer {
    /// Shows `own`, and asks for `client` where it is given.
    fn new(own: Certificate, client: Option<&Certificate>) -> TlsPeer {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = match client {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.der.clone()).expect("a certificate");
                let builder =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                builder.build().expect("a verifier")
            }
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.der], own.key)
            .expect("a pair");
        TlsPeer {
            listener: TcpListener::bind(("127.0.0.1", 0)).expect("a listener"),
            config: Arc::new(config),
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("bound").port()
    }

    /// Waits for a connection.
    fn accept(&self) -> io::Result<TlsStream> {
        self.listener.set_nonblocking(true)?;
        let deadline = Instant::now() + WAIT;
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error),
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(WAIT))?;
        let session = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        Ok(StreamOwned::new(session, stream))
    }
}

/// Reads one message: its head, and as much of a body as it announces.
fn read(stream: &mut TlsStream) -> io::Result<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).into_owned();
    let length = header(&head, "Content-Length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}

fn header(message: &str, name: &str) -> String {
    let start = format!("{name}: ");
    let line = message.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_default().trim().to_owned()
}

fn answer(stream: &mut TlsStream, request: &str, status: &str, rest: &str) {
    let copied: Vec<String> = ["Via", "From", "To", "Call-ID", "CSeq"]
        .iter()
        .map(|name| {
            format!(
                "{name}: {}{}\r\n",
                header(request, name),
                if *name == "To" && !header(request, name).contains("tag=") {
                    ";tag=peer"
                } else {
                    ""
                }
            )
        })
        .collect();
    write!(stream, "SIP/2.0 {status}\r\n{}{rest}", copied.concat()).expect("written");
    stream.flush().expect("flushed");
}

#[test]
fn a_sips_call_shows_a_certificate_and_opens_a_new_connection_where_the_first_is_gone() {
    let _alone = exclusive();
    let (peer_certificate, own) = (certificate("localhost"), certificate("confab.example"));
    let site = Site::start(&peer_certificate, Some(&own));
    let peer = TlsPeer::new(peer_certificate, Some(&own));
    let uri = format!("sips:bob@localhost:{}", peer.port());
    let dial = site.dial(&uri);
    let mut stream = peer.accept().expect("a connection");
    let invite = read(&mut stream).expect("an INVITE");
    assert!(invite.starts_with(&format!("INVITE {uri} SIP/2.0")), "{invite}");
    assert!(header(&invite, "Via").starts_with("SIP/2.0/TLS "), "{invite}");
    assert!(header(&invite, "Contact").starts_with("<sips:"), "{invite}");
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
        40_000
    );
    let contact = format!("Contact: <sips:bob@127.0.0.1:{}>\r\n", peer.port());
    let rest = format!(
        "{contact}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    answer(&mut stream, &invite, "200 OK", &rest);
    let ack = read(&mut stream).expect("an ACK, over the same connection");
    assert!(ack.starts_with("ACK "), "{ack}");
    assert_eq!(outcome(dial)["status"], "success");

    drop(stream);
    site.server
        .first_conference()
        .expect("the API")
        .act("end")
        .expect("ended");
    let mut stream = peer.accept().expect("a new connection");
    let bye = read(&mut stream).expect("a BYE");
    assert!(bye.starts_with("BYE sips:bob@127.0.0.1"), "{bye}");
    answer(&mut stream, &bye, "200 OK", "Content-Length: 0\r\n\r\n");
}

#[test]
fn two_calls_to_one_name_share_a_connection() {
    let _alone = exclusive();
    let peer_certificate = certificate("localhost");
    let site = Site::start(&peer_certificate, None);
    let peer = TlsPeer::new(peer_certificate, None);
    let uri = format!("sip:bob@localhost:{};transport=tls", peer.port());
    let first = site.dial(&uri);
    let mut stream = peer.accept().expect("a connection");
    let mut refuse = |dial| {
        let invite = read(&mut stream).expect("an INVITE");
        answer(&mut stream, &invite, "486 Busy Here", "Content-Length: 0\r\n\r\n");
        assert!(read(&mut stream).expect("an ACK").starts_with("ACK "));
        assert_eq!(outcome(dial)["message"], "USER_BUSY");
    };
    refuse(first);
    refuse(site.dial(&uri));
}

#[test]
fn who_hangs_up_before_he_answers_is_told_at_once() {
    let _alone = exclusive();
    let peer_certificate = certificate("localhost");
    let site = Site::start(&peer_certificate, None);
    let peer = TlsPeer::new(peer_certificate, None);
    let dial = site.dial(&format!("sips:bob@localhost:{}", peer.port()));
    let mut stream = peer.accept().expect("a connection");
    assert!(read(&mut stream).expect("an INVITE").starts_with("INVITE "));
    let began = Instant::now();
    drop(stream);
    assert_eq!(outcome(dial)["message"], "DESTINATION_OUT_OF_ORDER");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "without waiting for a timer"
    );
}

#[test]
fn a_phone_that_has_registered_over_tls_is_called_over_its_connection() {
    const REALM: &str = "phones.example";
    let _alone = exclusive();
    let folder = TempDir::new("tls-registered").expect("a directory");
    let own = certificate("localhost");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        format!("{:?}", path.to_string_lossy())
    };
    let tls = free_address().expect("an address");
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("bootstrap.realm", &format!("\"{REALM}\""))
        .set("sip.tls", &format!("[\"{tls}\"]"))
        .set("sip.tls_cert", &file("cert.pem", &own.pem))
        .set("sip.tls_key", &file("key.pem", &own.key_pem))
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    let data = json!({"name": "bob", "sip": {"username": "bob", "password": "open-sesame"}});
    let made = api
        .account("PUT", "/devices", Some(&json!({ "data": data })))
        .expect("answered");
    let device = made.json()["data"]["id"].clone();
    let account = BaresipAccount {
        realm: REALM.to_owned(),
        server: tls,
        transport: "tls",
        password: "open-sesame".to_owned(),
        expires_s: 120,
    };
    let says = meter::sine(900.0, -20.0, 8000, 0, 30 * 8000);
    let bob = Baresip::start(&BaresipConfig::registering("bob", account, says)).expect("baresip");
    bob.wait_log("200 OK", WAIT).expect("registered");
    let conference = server.first_conference().expect("the API");
    let path = format!("/conferences/{}", conference.id());
    let body = json!({"action": "dial", "data": {"data": {"endpoints": [device]}}});
    let answer = api.account("PUT", &path, Some(&body)).expect("answered");
    let told = &answer.json()["data"]["endpoint_responses"][0];
    assert_eq!(
        told["status"],
        "success",
        "{told} {}\n{}",
        bob.log(),
        server.log()
    );
    bob.wait_established(WAIT).expect("established");
    conference.act("end").expect("ended");
    bob.wait_closed(WAIT).expect("hung up");
}
