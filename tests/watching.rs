//! Devices watch a conference (RFC 4575): they are told who is there, what changes, and the end.

use std::time::{Duration, Instant};

use confab_testkit::agent::{Participant, Phone, SipMessage, digest};
use confab_testkit::rtp::{EngineConfig, RtpEngine};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, exclusive};
use serde_json::json;

const SOON: Duration = Duration::from_secs(15);
const REALM: &str = "phones.example";
const PASSWORD: &str = "open-sesame";

struct Site {
    server: Server,
    api: HttpClient,
    engine: RtpEngine,
}

impl Site {
    fn start() -> Site {
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"));
        let builder = builder.set("bootstrap.realm", &format!("\"{REALM}\""));
        let server = builder.start().expect("started");
        let api = server.api().expect("a login");
        let data = json!({"name": "ann", "sip": {"username": "ann", "password": PASSWORD}});
        let made = api.account("PUT", "/devices", Some(&json!({ "data": data })));
        assert_eq!(made.expect("answered").status, 201);
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        Site { server, api, engine }
    }

    fn subscriptions(&self) -> f64 {
        // The figures of the endpoint are up to 100 ms old.
        std::thread::sleep(Duration::from_millis(250));
        let metrics = self.server.metrics().expect("metrics");
        metrics.sum("confab_subscriptions").expect("a gauge")
    }

    fn gone(&self) {
        let none = |metrics: &confab_testkit::server::Metrics| metrics.sum("confab_conferences") == Some(0.0);
        if self.server.wait_metrics(SOON, none).is_err() {
            panic!("the conference is still there");
        }
    }
}

/// A watcher: its dialog.
struct Watcher<'a> {
    phone: &'a Phone,
    uri: String,
    to: String,
    cseq: u32,
}

impl<'a> Watcher<'a> {
    fn new(phone: &'a Phone, uri: &str) -> Watcher<'a> {
        Watcher {
            phone,
            uri: uri.to_owned(),
            to: format!("<{uri}>"),
            cseq: 0,
        }
    }

    fn subscribe(&mut self, lines: &[(&str, &str)]) -> SipMessage {
        self.cseq += 1;
        let local = self.phone.local_addr();
        let mut request = SipMessage::request("SUBSCRIBE", &self.uri)
            .with(
                "Via",
                format!("SIP/2.0/UDP {local};rport;branch=z9hG4bK{local}-{}", self.cseq),
            )
            .with("Max-Forwards", 70)
            .with("From", format!("<sip:ann@{REALM}>;tag=ann"))
            .with("To", &self.to)
            .with("Call-ID", format!("watch-{local}"))
            .with("CSeq", format!("{} SUBSCRIBE", self.cseq))
            .with("Contact", format!("<sip:ann@{local}>"))
            .with("Accept", "application/conference-info+xml");
        for (name, value) in lines {
            request = request.with(name, value);
        }
        let answer = self.phone.exchange(&request, SOON).expect("answered");
        if answer.status() == Some(200) {
            answer.header("To").expect("there").clone_into(&mut self.to);
        }
        answer
    }

    /// Subscribes with the device's credentials.
    fn subscribe_as(&mut self, password: &str, lines: &[(&str, &str)]) -> SipMessage {
        let asked = self.subscribe(lines);
        assert_eq!(asked.status(), Some(401));
        let value = digest::answer(&asked, "SUBSCRIBE", &self.uri, "ann", password).expect("a challenge");
        let lines: Vec<_> = lines
            .iter()
            .copied()
            .chain([("Authorization", value.as_str())])
            .collect();
        self.subscribe(&lines)
    }
}

fn body(notify: &SipMessage) -> String {
    assert_eq!(
        notify.header("Content-Type"),
        Some("application/conference-info+xml")
    );
    String::from_utf8(notify.body.clone()).expect("text")
}

fn state(notify: &SipMessage) -> &str {
    notify.header("Subscription-State").expect("there")
}

#[test]
fn a_device_is_told_who_is_there_what_changes_and_the_end() {
    let _alone = exclusive();
    let site = Site::start();
    let phones = [0, 1, 2].map(|_| Phone::udp(site.server.sip).expect("a phone"));
    let number =
        |name: &str| Participant::join_as(&phones[0], &site.engine, "3000", None, name, "Tea & <Cake>");
    let first = number("1001").expect("joined");
    let joined = |metrics: &confab_testkit::server::Metrics| metrics.sum("confab_participants") == Some(1.0);
    assert!(site.server.wait_metrics(SOON, joined).is_ok());
    let uri = format!("sip:3000@{}", site.server.sip);
    let mut watcher = Watcher::new(&phones[1], &uri);
    let answer = watcher.subscribe_as(PASSWORD, &[("Event", "conference"), ("Expires", "600")]);
    assert_eq!(
        (answer.status(), answer.header("Expires")),
        (Some(200), Some("600"))
    );
    assert!(answer.header("Contact").expect("there").ends_with(";isfocus"));
    let told = phones[1].wait_notifies(1, SOON).expect("at once");
    assert_eq!(site.subscriptions(), 1.0);
    let text = body(&told[0]);
    assert!(state(&told[0]).starts_with("active;expires="));
    assert!(text.contains(r#"state="full" version="1""#), "{text}");
    assert!(
        text.contains("<user-count>1</user-count><active>true</active><locked>false</locked>"),
        "{text}"
    );
    assert!(
        text.contains("<display-text>Tea &amp; &lt;Cake&gt;</display-text>"),
        "{text}"
    );

    // What happens soon after is told together, in time.
    let begun = Instant::now();
    let second = number("1002").expect("joined");
    let path = format!(
        "/conferences/{}",
        site.server.first_conference().expect("the API").id()
    );
    let lock = json!({"data": {"action": "lock"}});
    assert!(
        site.api
            .account("PUT", &path, Some(&lock))
            .expect("answered")
            .status
            < 300
    );
    let told = phones[1].wait_notifies(2, SOON).expect("told");
    assert!(begun.elapsed() > Duration::from_secs(2), "not at once");
    let text = body(&told[1]);
    assert!(text.contains(r#"state="partial" version="2""#), "{text}");
    assert!(
        text.contains("<user-count>2</user-count><active>true</active><locked>true</locked>"),
        "{text}"
    );
    assert!(
        text.contains("sip:1002@") && !text.contains("sip:1001@"),
        "only who is new: {text}"
    );
    assert_eq!(told.len(), 2);

    // A refresh tells everything, at once.
    let answer = watcher.subscribe(&[("Event", "conference"), ("Expires", "900")]);
    assert_eq!(
        (answer.status(), answer.header("Expires")),
        (Some(200), Some("900"))
    );
    let told = phones[1].wait_notifies(3, SOON).expect("told");
    let text = body(&told[2]);
    assert!(text.contains(r#"state="full" version="3""#), "{text}");

    second.leave().expect("left");
    let told = phones[1].wait_notifies(4, SOON).expect("told");
    let text = body(&told[3]);
    assert!(
        text.contains("sip:1002@") && text.contains(r#"state="deleted""#),
        "{text}"
    );

    // The conference ends, and with it what there is to tell.
    first.leave().expect("left");
    site.gone();
    let told = phones[1].wait_notifies(5, SOON).expect("told");
    assert_eq!(state(&told[4]), "terminated;reason=noresource");
    assert!(body(&told[4]).contains("<active>false</active>"));
    let answer = watcher.subscribe(&[("Event", "conference")]);
    assert_eq!(answer.status(), Some(481));
    assert_eq!(site.subscriptions(), 0.0);
}

#[test]
fn who_watches_no_more_is_told_the_last_and_who_may_not_is_told_nothing() {
    let _alone = exclusive();
    let site = Site::start();
    let phones = [0, 1, 2, 3].map(|_| Phone::udp(site.server.sip).expect("a phone"));
    let uri = format!("sip:3000@{}", site.server.sip);
    // Not running yet: that is told, and its start.
    let mut watcher = Watcher::new(&phones[1], &uri);
    assert_eq!(
        watcher
            .subscribe_as(PASSWORD, &[("Event", "conference")])
            .status(),
        Some(200)
    );
    let told = phones[1].wait_notifies(1, SOON).expect("at once");
    assert!(body(&told[0]).contains("<user-count>0</user-count><active>false</active>"));
    let first = Participant::join(&phones[0], &site.engine, "3000", None).expect("joined");
    let told = phones[1].wait_notifies(2, SOON).expect("told");
    assert!(body(&told[1]).contains("<user-count>1</user-count><active>true</active>"));
    let answer = watcher.subscribe(&[("Event", "conference"), ("Expires", "0")]);
    assert_eq!(
        (answer.status(), answer.header("Expires")),
        (Some(200), Some("0"))
    );
    let told = phones[1].wait_notifies(3, SOON).expect("told");
    assert_eq!(state(&told[2]), "terminated;reason=timeout");
    assert!(body(&told[2]).contains(r#"state="full""#));
    // Once, without a subscription.
    let mut once = Watcher::new(&phones[2], &uri);
    let answer = once.subscribe_as(PASSWORD, &[("Event", "conference"), ("Expires", "0")]);
    assert_eq!(answer.status(), Some(200));
    let told = phones[2].wait_notifies(1, SOON).expect("told");
    assert_eq!(state(&told[0]), "terminated;reason=timeout");

    let refused = |uri: &str, password: &str| {
        Watcher::new(&phones[3], uri)
            .subscribe_as(password, &[("Event", "conference")])
            .status()
    };
    assert_eq!(refused(&uri, "guess"), Some(403));
    assert_eq!(refused(&format!("sip:4711@{REALM}"), PASSWORD), Some(404));
    let other = Watcher::new(&phones[3], &uri).subscribe(&[("Event", "presence")]);
    assert_eq!(
        (other.status(), other.header("Allow-Events")),
        (Some(489), Some("conference"))
    );
    assert!(phones[3].wait_notifies(1, Duration::from_millis(500)).is_err());
    first.leave().expect("left");
    site.gone();
    assert_eq!(
        phones[1].wait_notifies(3, SOON).expect("told").len(),
        3,
        "nothing more"
    );
}

#[test]
fn a_device_that_watches_as_much_as_it_may_is_told_when_to_come_back() {
    let _alone = exclusive();
    let site = Site::start();
    let uri = format!("sip:3000@{}", site.server.sip);
    let phones: Vec<Phone> = (0..17)
        .map(|_| Phone::udp(site.server.sip).expect("a phone"))
        .collect();
    let subscribe = |phone: &Phone| {
        let answer = Watcher::new(phone, &uri).subscribe_as(PASSWORD, &[("Event", "conference")]);
        let after = answer.header("Retry-After").map(str::to_owned);
        (answer.status(), after)
    };
    for phone in &phones[..16] {
        assert_eq!(subscribe(phone), (Some(200), None));
    }
    assert_eq!(subscribe(&phones[16]), (Some(503), Some("60".to_owned())));
}
