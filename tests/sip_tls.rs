//! SIP over TLS: a phone calls in with everything secured, is hung up over its connection, and does not notice that the certificate is exchanged; and what
//! speaks no TLS is cut off.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipConfig};
use confab_testkit::server::{Server, ServerBuilder, TempDir, exclusive, free_address};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const WAIT: Duration = Duration::from_secs(10);
const LEVEL_DBFS: f64 = -20.0;

struct Secure {
    server: Server,
    folder: TempDir,
    tls: SocketAddr,
}

impl Secure {
    fn start() -> (Secure, CertificateDer<'static>) {
        Self::with(|_| Vec::new())
    }

    fn with(settings: impl Fn(&TempDir) -> Vec<(&'static str, String)>) -> (Secure, CertificateDer<'static>) {
        let folder = TempDir::new("sip-tls").expect("a directory");
        let certificate = exchange(&folder);
        let tls = free_address().expect("an address");
        let file = |name| format!("{:?}", folder.path().join(name).to_string_lossy());
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"));
        let builder = settings(&folder)
            .iter()
            .fold(builder, |builder, (key, value)| builder.set(key, value));
        let server = builder
            .set("sip.tls", &format!("[\"{tls}\"]"))
            .set("sip.tls_cert", &file("cert.pem"))
            .set("sip.tls_key", &file("key.pem"))
            .start()
            .expect("started");
        (Secure { server, folder, tls }, certificate)
    }

    /// Opens a connection that trusts one certificate only.
    fn connect(
        &self,
        trusted: CertificateDer<'static>,
        shown: Option<&CertifiedKey<KeyPair>>,
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(shown) => {
                let key = shown.signing_key.serialize_der().try_into().expect("a key");
                config
                    .with_client_auth_cert(vec![shown.cert.der().clone()], key)
                    .expect("a pair")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let stream = TcpStream::connect(self.tls)?;
        stream.set_read_timeout(Some(WAIT))?;
        let mut stream = StreamOwned::new(session, stream);
        stream.flush()?;
        Ok(stream)
    }

    /// Asks with OPTIONS and returns the answer.
    fn options(&self, trusted: CertificateDer<'static>) -> std::io::Result<String> {
        self.options_as(trusted, "sip", None)
    }

    fn options_as(
        &self,
        trusted: CertificateDer<'static>,
        scheme: &str,
        shown: Option<&CertifiedKey<KeyPair>>,
    ) -> std::io::Result<String> {
        let mut stream = self.connect(trusted, shown)?;
        let from = stream.sock.local_addr()?;
        write!(
            stream,
            "OPTIONS {scheme}:3000@{} SIP/2.0\r\nVia: SIP/2.0/TLS {from};branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\nFrom: <sip:a@b.invalid>;tag=1\r\n\
             To: <sip:3000@{}>\r\nCall-ID: 1@b.invalid\r\nCSeq: 1 OPTIONS\r\nContact: <sip:a@{from};transport=tls>\r\nContent-Length: 0\r\n\r\n",
            self.tls, self.tls
        )?;
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}

fn exchange(folder: &TempDir) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(folder.path().join("cert.pem"), cert.pem()).expect("written");
    fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).expect("written");
    cert.der().clone()
}

#[test]
fn a_phone_calls_over_tls_is_heard_and_is_hung_up_over_its_connection() {
    let _alone = exclusive();
    let (secure, _) = Secure::start();
    let conference = secure.server.first_conference().expect("the API");
    let target = format!("sip:3000@{};transport=tls", secure.tls);
    let phone = |user: &str, target: &str, tone_hz, media_encryption| {
        let config = BaresipConfig {
            media_encryption,
            ..BaresipConfig::new(user, target, meter::sine(tone_hz, LEVEL_DBFS, 8000, 0, 60 * 8000))
        };
        Baresip::start(&config).expect("baresip")
    };
    let ann = phone("ann", &target, 600.0, Some("srtp-mand"));
    let mut bob = phone("bob", &format!("sip:3000@{}", secure.server.sip), 900.0, None);
    for phone in [&ann, &bob] {
        phone.wait_established(WAIT).expect("answered");
    }
    conference
        .wait_participants(WAIT, |list| list.len() == 2)
        .expect("both are in");
    exchange(&secure.folder);
    secure.server.signal(libc::SIGHUP).expect("signalled");
    std::thread::sleep(Duration::from_secs(4));
    let participant = conference.participant("ann").expect("she is in");
    conference.act_on(participant, "kick").expect("kicked");
    ann.wait_closed(WAIT).expect("hung up");
    bob.hang_up().expect("ended");
    let heard = bob.heard().expect("recorded");
    let second = &heard[heard.len() / 2 - 4000..][..8000];
    let level = meter::median_tone_dbfs(second, 8000, 600.0);
    assert!((level - LEVEL_DBFS).abs() < 1.5, "{level:.1} dBFS");
}

#[test]
fn answers_name_the_transport_and_the_certificate_is_exchanged_on_a_signal() {
    let (secure, first) = Secure::start();
    let answer = secure.options(first.clone()).expect("answered");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(answer.contains("Via: SIP/2.0/TLS"), "{answer}");
    let second = exchange(&secure.folder);
    assert!(secure.options(second.clone()).is_err(), "not before the signal");
    secure.server.signal(libc::SIGHUP).expect("signalled");
    let deadline = Instant::now() + WAIT;
    while secure.options(second.clone()).is_err() {
        assert!(Instant::now() < deadline, "{}", secure.server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(secure.options(first).is_err(), "it is not shown any more");
}

#[test]
fn a_sips_uri_is_taken_over_tls() {
    let (secure, trusted) = Secure::start();
    let answer = secure.options_as(trusted, "sips", None).expect("answered");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}

#[test]
fn who_connects_shows_a_certificate_where_that_is_asked() {
    let phone = generate_simple_self_signed(["phone.example".to_owned()]).expect("a certificate");
    let stranger = generate_simple_self_signed(["phone.example".to_owned()]).expect("a certificate");
    let (secure, trusted) = Secure::with(|folder| {
        let path = folder.path().join("phones.pem");
        fs::write(&path, phone.cert.pem()).expect("written");
        vec![("sip.tls_clients", format!("{:?}", path.to_string_lossy()))]
    });
    let ask = |shown| secure.options_as(trusted.clone(), "sip", shown);
    let answer = ask(Some(&phone)).expect("answered");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    // With TLS 1.3 the client is done before the server has looked at it.
    for shown in [None, Some(&stranger)] {
        let answer = ask(shown).unwrap_or_default();
        assert_eq!(answer, "", "nobody is answered");
    }
}

#[test]
fn what_speaks_no_tls_is_cut_off_and_counted() {
    let (secure, _) = Secure::start();
    let mut stream = TcpStream::connect(secure.tls).expect("connected");
    stream.set_read_timeout(Some(WAIT)).expect("set");
    stream
        .write_all(b"OPTIONS sip:3000@localhost SIP/2.0\r\n\r\n")
        .expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(
        !String::from_utf8_lossy(&answer).contains("SIP/2.0"),
        "{answer:?}"
    );
    secure
        .server
        .wait_metrics(WAIT, |metrics| {
            metrics.labelled("confab_sip_transport_errors_total", "kind", "tls_failed") >= 1.0
        })
        .expect("counted");
}

#[test]
fn a_certificate_that_is_not_there_is_told_with_its_key() {
    let error = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.tls", "[\"127.0.0.1:0\"]")
        .set("sip.tls_cert", "\"/nonexistent/cert.pem\"")
        .set("sip.tls_key", "\"/nonexistent/key.pem\"")
        .start()
        .expect_err("refused");
    let text = error.to_string();
    assert!(
        text.contains("sip.tls_cert") && text.contains("cert.pem"),
        "{text}"
    );
}
