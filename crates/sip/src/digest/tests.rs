use super::*;
use proptest::prelude::*;

const LIFETIME: Duration = Duration::from_secs(60);

struct Client {
    user: &'static str,
    password: &'static str,
    count: u32,
}

fn server() -> (DigestServer, Instant) {
    let began = Instant::now();
    (DigestServer::new([7; 32], began, LIFETIME), began)
}

fn part<'a>(challenge: &'a str, key: &str) -> &'a str {
    let rest = challenge.split(&format!("{key}=\"")).nth(1).expect(key);
    rest.split('"').next().expect("closed")
}

impl Client {
    fn answers(&self, challenge: &str, method: &str) -> String {
        let algorithm = if challenge.contains("SHA-256") {
            DigestAlgorithm::Sha256
        } else {
            DigestAlgorithm::Md5
        };
        let (realm, nonce) = (part(challenge, "realm"), part(challenge, "nonce"));
        let count = format!("{:08x}", self.count);
        let uri = "sip:room@a.example";
        let hash = |text: String| algorithm.hash(&[text.as_bytes()]);
        let who = hash(format!("{}:{realm}:{}", self.user, self.password));
        let what = hash(format!("{method}:{uri}"));
        let response = hash(format!("{who}:{nonce}:{count}:0a4f113b:auth:{what}"));
        format!(
            "Digest username=\"{}\",realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", qop=auth, nc={count}, \
             cnonce=\"0a4f113b\", response=\"{response}\", algorithm={}, opaque=\"x\"",
            self.user,
            algorithm.name()
        )
    }
}

fn alice(count: u32) -> Client {
    Client {
        user: "alice",
        password: "open: sesame",
        count,
    }
}

fn verify(server: &mut DigestServer, now: Instant, value: &str) -> DigestVerdict {
    let credentials = DigestCredentials::parse(value.as_bytes()).expect("credentials");
    assert_eq!(
        (credentials.username.as_str(), credentials.realm.as_str()),
        ("alice", "a.example")
    );
    server.verify(now, "INVITE", &credentials, "open: sesame")
}

#[test]
fn the_examples_of_rfc_7616_are_right() {
    // RFC 7616 §3.9.1.
    let rows = [
        (DigestAlgorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (
            DigestAlgorithm::Sha256,
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ];
    for (algorithm, response) in rows {
        let value = format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm={}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
             cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\"",
            algorithm.name()
        );
        let credentials = DigestCredentials::parse(value.as_bytes()).expect("credentials");
        assert_eq!(credentials.response_for("GET", "Circle of Life"), response);
    }
}

#[test]
fn who_knows_the_password_is_believed_once_for_each_count() {
    let (mut server, now) = server();
    let challenges = server.challenges(now, "a.example", false);
    assert_eq!(challenges.len(), 2);
    assert!(challenges[0].contains("algorithm=SHA-256") && challenges[1].contains("algorithm=MD5"));
    for challenge in &challenges {
        let mut server = DigestServer::new([7; 32], now, LIFETIME);
        let answer = alice(1).answers(challenge, "INVITE");
        assert_eq!(verify(&mut server, now, &answer), DigestVerdict::Right);
        let again = DigestVerdict::Stale { was_right: true };
        assert_eq!(verify(&mut server, now, &answer), again, "it comes again");
        assert_eq!(
            verify(&mut server, now, &alice(3).answers(challenge, "INVITE")),
            DigestVerdict::Right
        );
        // Requests overtake each other; what lies too far back might have come before.
        for (count, verdict) in [
            (2, DigestVerdict::Right),
            (2, again),
            (3, again),
            (100, DigestVerdict::Right),
            (37, DigestVerdict::Right),
            (37, again),
            (36, again),
            (0, again),
            (u32::MAX, DigestVerdict::Right),
            (100, again),
            (u32::MAX, again),
        ] {
            let answer = alice(count).answers(challenge, "INVITE");
            assert_eq!(verify(&mut server, now, &answer), verdict, "{count}");
        }
    }
}

#[test]
fn what_is_wrong_old_or_forged_is_not_believed() {
    let (mut server, began) = server();
    let challenge = server.challenges(began, "a.example", false).remove(0);
    let guess = Client {
        password: "guess",
        ..alice(1)
    };
    assert_eq!(
        verify(&mut server, began, &guess.answers(&challenge, "INVITE")),
        DigestVerdict::Wrong
    );
    assert_eq!(
        verify(&mut server, began, &alice(1).answers(&challenge, "BYE")),
        DigestVerdict::Wrong
    );
    let late = began + LIFETIME;
    let stale = DigestVerdict::Stale { was_right: true };
    assert_eq!(
        verify(&mut server, late, &alice(1).answers(&challenge, "INVITE")),
        stale
    );
    let before = began + LIFETIME - Duration::from_millis(1);
    let (mut other, _) = (DigestServer::new([8; 32], began, LIFETIME), ());
    assert_eq!(
        verify(&mut other, before, &alice(1).answers(&challenge, "INVITE")),
        stale,
        "another's nonce"
    );
    assert_eq!(
        verify(&mut server, before, &alice(1).answers(&challenge, "INVITE")),
        DigestVerdict::Right
    );
    assert!(server.challenges(late, "a.example", true)[0].ends_with("stale=true"));
    let shown = format!("{server:?}");
    assert!(!shown.contains('7'), "{shown}");
}

#[test]
fn memory_is_bounded_and_what_was_forgotten_is_stale() {
    let (mut server, now) = server();
    let first = server.challenges(now, "a.example", false).remove(0);
    assert_eq!(
        verify(&mut server, now, &alice(1).answers(&first, "INVITE")),
        DigestVerdict::Right
    );
    for _ in 0..MOST_USED {
        let challenge = server.challenges(now, "a.example", false).remove(1);
        assert_eq!(
            verify(&mut server, now, &alice(1).answers(&challenge, "INVITE")),
            DigestVerdict::Right
        );
    }
    assert_eq!(server.used.len(), MOST_USED);
    let stale = DigestVerdict::Stale { was_right: true };
    assert_eq!(
        verify(&mut server, now, &alice(1).answers(&first, "INVITE")),
        stale
    );
    let later = now + 2 * LIFETIME;
    let challenge = server.challenges(later, "a.example", false).remove(0);
    assert_eq!(
        verify(&mut server, later, &alice(1).answers(&challenge, "INVITE")),
        DigestVerdict::Right
    );
    assert_eq!(server.used.len(), 1, "the others have expired");
}

#[test]
fn a_realm_cannot_break_out_of_its_quotes() {
    let (mut server, now) = server();
    let challenge = server.challenges(now, "a\", nonce=\"x\\\r\n", false).remove(0);
    assert!(
        challenge.starts_with("Digest realm=\"a, nonce=x\", nonce=\""),
        "{challenge}"
    );
}

#[test]
fn what_is_no_credentials_is_refused() {
    let good = "Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"u\", response=\"00\", cnonce=\"c\", qop=auth, nc=00000001";
    assert!(DigestCredentials::parse(good.as_bytes()).is_some());
    let bad = [
        good.replace("Digest", "Basic"),
        good.replace("qop=auth", "qop=auth-int"),
        good.replace(", qop=auth", ""),
        good.replace("00000001", "1"),
        good.replace("00000001", "0000000g"),
        good.replace("nonce=\"n\"", "nonce=\"n"),
        good.replace("uri=\"u\"", "uri=\"u\" x"),
        good.replace("username=\"a\", ", ""),
        format!("{good}, realm=\"again\""),
        format!("{good}, algorithm=SHA-512-256"),
        format!("{good}, {}", "x".repeat(5000)),
        String::new(),
        "Digest".to_owned(),
    ];
    for bad in bad {
        assert_eq!(DigestCredentials::parse(bad.as_bytes()), None, "{bad}");
    }
    let escaped = good.replace("\"a\"", "\"a\\\"b\"");
    assert_eq!(
        DigestCredentials::parse(escaped.as_bytes())
            .expect("read")
            .username,
        "a\"b"
    );
}

#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/digest");
    for entry in std::fs::read_dir(folder).expect("seeds") {
        let seed = std::fs::read(entry.expect("a seed").path()).expect("read");
        crate::fuzz_credentials(Instant::now(), &seed);
    }
}

proptest! {
    #[test]
    fn no_value_panics(value in "(Digest )?[ -~éa-z=\",\\\\]{0,200}") {
        crate::fuzz_credentials(Instant::now(), value.as_bytes());
    }
}

#[test]
fn credentials_are_for_the_address_that_they_were_made_for() {
    use crate::message::{HeaderName, Method, Request};
    use crate::uri::Uri;
    use DigestTarget::{Other, OtherHost, Same};

    let own = |host: &str| OtherHost(host.to_owned());
    let rows = [
        ("INVITE", "sip:3000@10.0.0.1:5060", "sip:3000@10.0.0.1:5060", Same),
        (
            "INVITE",
            "sip:3000@10.0.0.1:5060",
            "sip:3000@10.0.0.1;transport=tcp",
            Same,
        ),
        ("INVITE", "sip:3000@10.0.0.1", "sips:%33000@10.0.0.1;x", Same),
        // A proxy has written the host anew; what To says was called.
        ("INVITE", "sip:3000@10.0.0.1", "sip:3000@Proxy.example", Same),
        // SIPp names nobody.
        ("INVITE", "sip:3000@10.0.0.1", "sip:10.0.0.1:5060", Same),
        (
            "INVITE",
            "sip:3000@10.0.0.1",
            "sip:3000@pbx.example",
            own("pbx.example"),
        ),
        ("INVITE", "sip:3000@10.0.0.1", "sip:192.0.2.1", own("192.0.2.1")),
        ("INVITE", "sip:3000@10.0.0.1", "sip:3001@10.0.0.1", Other),
        ("INVITE", "sip:10.0.0.1", "sip:3001@10.0.0.1", Other),
        ("INVITE", "sip:3000@10.0.0.1", "tel:3000", Other),
        ("INVITE", "sip:3000@10.0.0.1", "", Other),
        ("INVITE", "sip:3000@10.0.0.1", "/", Other),
        ("REGISTER", "sip:pbx.example", "sip:pbx.example", Same),
        ("REGISTER", "sip:pbx.example", "sip:ann@pbx.example:5060", Same),
        ("REGISTER", "sip:pbx.example", "sip:10.0.0.1", own("10.0.0.1")),
    ];
    for (method, asked, said, expected) in rows {
        let method = match method {
            "REGISTER" => Method::Register,
            _ => Method::Invite,
        };
        let uri = Uri::parse(asked.to_owned()).expect("a URI");
        let request = Request::new(method, uri).with_header(HeaderName::To, "<sip:3000@proxy.example>");
        let value = format!(
            "Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"{said}\", qop=auth, nc=00000001, \
             cnonce=\"c\", response=\"x\""
        );
        let credentials = DigestCredentials::parse(value.as_bytes()).expect("credentials");
        assert_eq!(credentials.target(&request), expected, "{asked} {said}");
    }
}

proptest! {
    #[test]
    fn any_address_in_credentials_is_compared(said in "\\PC{0,30}|sip:[a-z0-9@.;:%]{0,30}") {
        use crate::message::{Method, Request};
        use crate::uri::Uri;
        let request = Request::new(Method::Invite, Uri::parse("sip:3000@a.example").expect("a URI"));
        let quoted = said.replace('\\', "\\\\").replace('"', "\\\"");
        let value = format!(
            "Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"{quoted}\", qop=auth, nc=00000001, cnonce=\"c\", \
             response=\"x\""
        );
        if let Some(credentials) = DigestCredentials::parse(value.as_bytes()) {
            let _ = credentials.target(&request);
        }
    }
}
