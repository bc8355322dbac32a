//! Webhooks: an address of ours is told what happens in conferences, as its document says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::rtp::{EngineConfig, RtpEngine};
use confab_testkit::server::{ACCOUNT_ID, ConferenceControl, HttpClient, ServerBuilder};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Debug)]
struct Told {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Told {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// A server that notes what it is told and answers with a status.
struct Listener {
    address: SocketAddr,
    told: mpsc::Receiver<Told>,
    status: Arc<AtomicU16>,
}

impl Listener {
    fn start() -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let (sender, told) = mpsc::channel();
        let status = Arc::new(AtomicU16::new(200));
        let answer = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, &sender, &answer));
            }
        });
        Listener {
            address,
            told,
            status,
        }
    }

    fn next(&self) -> Told {
        self.told.recv_timeout(WAIT).expect("told in time")
    }
}

fn serve(stream: &TcpStream, sender: &mpsc::Sender<Told>, status: &AtomicU16) {
    let mut reader = BufReader::new(stream);
    while let Some(told) = read(&mut reader) {
        let status = status.load(Ordering::SeqCst);
        let answer = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
        let mut stream = stream;
        if sender.send(told).is_err() || stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Told> {
    let mut line = || {
        let mut line = String::new();
        let octets = reader.read_line(&mut line).ok()?;
        (octets > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap_or(0))];
    reader.read_exact(&mut body).ok()?;
    Some(Told {
        method,
        target,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

fn make(client: &HttpClient, document: &Value) -> String {
    let made = client
        .account("PUT", "/webhooks", Some(&json!({ "data": document })))
        .expect("answered");
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["data"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_address_is_told_of_whoever_guesses_pins() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("fetch.allow_private", "true")
        .set("pin_guard.source_tries", "2")
        .set("pin_guard.source_block_s", "60")
        .start()
        .expect("started");
    let client = server.api().expect("a login");
    let document = json!({"conference_numbers": ["7001"], "member": {"pins": ["4711"]}});
    let room = ConferenceControl::create(client.clone(), document).expect("created");
    let listener = Listener::start();
    make(
        &client,
        &json!({"name": "guard", "uri": format!("http://{}/", listener.address), "hook": "pin-guard-block", "format": "json"}),
    );
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let caller = Participant::join(&phone, &engine, "7001", None).expect("answered");
    caller.types("1#2#").expect("sent");
    let body: Value = serde_json::from_str(&listener.next().body).expect("JSON");
    for (key, value) in [
        ("event", json!("pin-guard-block")),
        ("hook_event", json!("pin-guard-block")),
        ("account_id", json!(ACCOUNT_ID)),
        ("conference_id", json!(room.id())),
        ("source", json!("127.0.0.1")),
        ("blocked_s", json!(60)),
    ] {
        assert_eq!(body[key], value, "{key}: {body}");
    }
    caller.call.wait_request("BYE", WAIT).expect("turned away");
}

#[test]
fn an_address_is_told_what_happens_in_the_form_that_it_wants() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("fetch.allow_private", "true")
        .start()
        .expect("started");
    let client = server.api().expect("a login");
    let room = server.first_conference().expect("the API");
    let (as_json, as_form, as_query) = (Listener::start(), Listener::start(), Listener::start());
    let hook = make(
        &client,
        &json!({
            "name": "json", "uri": format!("http://{}/hook?x=1", as_json.address), "hook": "conference",
            "format": "json", "http_verb": "put", "custom_data": {"ticket": "7"}
        }),
    );
    make(
        &client,
        &json!({"name": "form", "uri": format!("http://{}/", as_form.address), "hook": "lock"}),
    );
    make(
        &client,
        &json!({"name": "get", "uri": format!("http://{}/?y=2", as_query.address), "hook": "lock", "http_verb": "get"}),
    );
    let defaults = client
        .account("GET", &format!("/webhooks/{hook}"), None)
        .expect("answered");
    let defaults = defaults.json()["data"].take();
    assert_eq!(
        (&defaults["retries"], &defaults["enabled"]),
        (&json!(2), &json!(true))
    );

    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let caller = Participant::join_as(&phone, &engine, "3000", None, "ann", "ann").expect("joined");
    let told = as_json.next();
    assert_eq!((told.method.as_str(), told.target.as_str()), ("PUT", "/hook?x=1"));
    assert_eq!(told.header("content-type"), "application/json");
    assert_eq!(
        (told.header("x-hook-id"), told.header("x-account-id")),
        (hook.as_str(), ACCOUNT_ID)
    );
    let body: Value = serde_json::from_str(&told.body).expect("JSON");
    assert_eq!(
        (&body["event"], &body["sequence"]),
        (&json!("conference-create"), &json!(1))
    );
    let body: Value = serde_json::from_str(&as_json.next().body).expect("JSON");
    for (key, value) in [
        ("event", json!("add-member")),
        ("conference_id", json!(room.id())),
        ("caller_id_number", json!("ann")),
        ("ticket", json!("7")),
        ("hook_event", json!("conference")),
    ] {
        assert_eq!(body[key], value, "{key}: {body}");
    }

    room.act("lock").expect("locked");
    let told = as_form.next();
    assert_eq!(told.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(told.method, "POST");
    let fields: Vec<&str> = told.body.split('&').collect();
    assert!(
        fields.contains(&"event=lock") && fields.contains(&"hook_event=lock"),
        "{}",
        told.body
    );
    let told = as_query.next();
    assert_eq!((told.method.as_str(), told.body.as_str()), ("GET", ""));
    assert!(
        told.target.starts_with("/?y=2&") && told.target.contains("&event=lock&"),
        "{}",
        told.target
    );

    let deadline = Instant::now() + WAIT;
    let attempts = loop {
        let answer = client
            .account("GET", &format!("/webhooks/{hook}/attempts"), None)
            .expect("answered");
        let attempts = answer.json()["data"].take();
        if attempts[0]["hook_event"] == "lock" || Instant::now() > deadline {
            break attempts;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(attempts.as_array().map(Vec::len), Some(3), "{attempts}");
    assert_eq!(
        (&attempts[0]["result"], &attempts[0]["response_code"]),
        (&json!("success"), &json!(200))
    );

    // Switched off, it is told nothing more: what was known of it is a second old at most.
    let off = json!({"data": {"enabled": false}});
    let patched = client
        .account("PATCH", &format!("/webhooks/{hook}"), Some(&off))
        .expect("answered");
    assert_eq!(patched.status, 200, "{}", patched.text());
    std::thread::sleep(Duration::from_millis(1500));
    while as_json.told.try_recv().is_ok() {}
    room.act("unlock").expect("unlocked");
    room.act("lock").expect("locked");
    as_form.next();
    assert!(as_json.told.try_recv().is_err());
    caller.leave().expect("left");
}

#[test]
fn an_address_that_fails_is_switched_off_and_may_be_switched_on_again() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("fetch.allow_private", "true")
        .start()
        .expect("started");
    let client = server.api().expect("a login");
    let room = server.first_conference().expect("the API");
    let listener = Listener::start();
    listener.status.store(500, Ordering::SeqCst);
    let uri = format!("http://{}/", listener.address);
    let hook = make(
        &client,
        &json!({"name": "bad", "uri": uri, "hook": "lock", "retries": 1}),
    );
    let path = format!("/webhooks/{hook}");
    let document = || client.account("GET", &path, None).expect("answered").json()["data"].take();
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let caller = Participant::join(&phone, &engine, "3000", None).expect("joined");
    // A lock of a conference that forms still is told when it runs.
    room.wait_participants(WAIT, |all| all.len() == 1).expect("in it");
    for _ in 0..8 {
        room.act("lock").expect("locked");
    }
    for _ in 0..6 {
        listener.next();
    }
    let deadline = Instant::now() + WAIT;
    while document()["enabled"] == true {
        assert!(Instant::now() < deadline, "still enabled");
        std::thread::sleep(Duration::from_millis(50));
    }
    let why = document()["disable_message"].take();
    assert!(
        why.as_str().is_some_and(|why| why.contains("6 requests failed")),
        "{why}"
    );
    assert!(listener.told.try_recv().is_err(), "six, and no more");
    let metrics = server.metrics().expect("metrics");
    assert_eq!(metrics.sum("confab_webhooks_disabled_total"), Some(1.0));

    listener.status.store(204, Ordering::SeqCst);
    let on = json!({"data": {"enabled": true}});
    let patched = client
        .account("PATCH", &path, Some(&on))
        .expect("answered")
        .json()["data"]
        .take();
    assert_eq!(
        (&patched["enabled"], &patched["disable_message"]),
        (&json!(true), &Value::Null)
    );
    std::thread::sleep(Duration::from_millis(1500));
    room.act("lock").expect("locked");
    assert!(listener.next().body.contains("event=lock"));
    caller.leave().expect("left");
}

#[test]
fn addresses_of_the_inner_network_are_not_asked_and_bad_documents_are_refused() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let client = server.api().expect("a login");
    let room = server.first_conference().expect("the API");
    let listener = Listener::start();
    let uri = format!("http://localhost:{}/", listener.address.port());
    let hook = make(
        &client,
        &json!({"name": "inner", "uri": uri, "hook": "all", "retries": 1}),
    );
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let caller = Participant::join(&phone, &engine, "3000", None).expect("joined");
    // A lock of a conference that forms still is told when it runs.
    room.wait_participants(WAIT, |all| all.len() == 1).expect("in it");
    room.act("lock").expect("locked");
    let path = format!("/webhooks/{hook}/attempts");
    let deadline = Instant::now() + WAIT;
    let error = loop {
        let attempts = client.account("GET", &path, None).expect("answered").json()["data"].take();
        if let Some(error) = attempts[0]["client_error"].as_str() {
            break error.to_owned();
        }
        assert!(Instant::now() < deadline, "{attempts}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(error.contains("not an address of the public network"), "{error}");
    assert!(listener.told.try_recv().is_err());
    caller.leave().expect("left");

    let good = json!({"name": "n", "uri": "https://example.com/", "hook": "all"});
    for (key, value, rule) in [
        ("uri", json!("ftp://example.com/"), "pattern"),
        ("uri", json!("nonsense"), "pattern"),
        ("hook", json!("channel_create"), "enum"),
        ("http_verb", json!("delete"), "enum"),
        ("retries", json!(5), "maximum"),
        ("retries", json!(0), "minimum"),
        ("format", json!("xml"), "enum"),
        ("custom_data", json!([1]), "type"),
    ] {
        let mut document = good.clone();
        document[key] = value.clone();
        let body = json!({ "data": document });
        let answer = client.account("PUT", "/webhooks", Some(&body)).expect("answered");
        assert_eq!(answer.status, 400, "{key} {value}: {}", answer.text());
        assert!(
            answer.json()["data"][key][rule].is_object(),
            "{key} {value}: {}",
            answer.text()
        );
    }
    let unknown = client.account("GET", "/webhooks/0123456789abcdef0123456789abcdef/attempts", None);
    assert_eq!(unknown.expect("answered").status, 404);
}
