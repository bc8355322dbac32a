//! What the lines share: one server, an operator's client, and rooms with callers in them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use confab_testkit::agent::{Joining, Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpAnswer, HttpClient, KeptServer, ServerBuilder, quiet};
use serde_json::{Value, json};

/// How long anything may take that happens at once.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// The number that asks for the number of the conference.
pub(crate) const SERVICE_NUMBER: &str = "9000";

/// One server and the master account's client.
pub(crate) struct Site {
    pub(crate) server: KeptServer,
    pub(crate) api: HttpClient,
}

/// Returns the server that all lines share which need no other configuration.
pub(crate) fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| Site::start(&[]))
}

/// Returns a number that no other test uses.
pub(crate) fn number() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(70_000);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

impl Site {
    /// Starts a server with these keys of the configuration.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Site {
        // All callers of these tests come from one address, and many of them have the wrong PIN.
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .set("sip.service_numbers", &format!("[\"{SERVICE_NUMBER}\"]"))
            // And all calls are placed by one account.
            .set("outbound.per_minute", "10000")
            .set("pin_guard.source_tries", "10000")
            .set("pin_guard.conference_tries", "10000");
        let builder = settings
            .iter()
            .fold(builder, |builder, (key, value)| builder.set(key, value));
        let server = KeptServer::new(builder.start().expect("started")).expect("kept");
        let api = server.api().expect("a login");
        Site { server, api }
    }

    /// Sends a request below the account; without a body when that is null.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> HttpAnswer {
        self.ask_with(method, path, &[("Content-Type", "application/json")], body)
    }

    /// Sends a request below the account with headers of its own.
    pub(crate) fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> HttpAnswer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.api
            .send(method, &self.url(path), headers, body.as_bytes())
            .expect("answered")
    }

    pub(crate) fn get(&self, path: &str) -> HttpAnswer {
        self.ask("GET", path, &Value::Null)
    }

    /// Returns the whole path of one below the account.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("/v2/accounts/{}{path}", self.api.account_id())
    }

    /// Sends a request without a token.
    pub(crate) fn anonymous(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> HttpAnswer {
        HttpClient::anonymous(self.server.http)
            .send(method, path, headers, body.as_bytes())
            .expect("answered")
    }

    /// Makes a document and returns it as it is stored.
    pub(crate) fn make(&self, collection: &str, data: Value) -> Value {
        let answer = self.ask("PUT", &format!("/{collection}"), &json!({ "data": data }));
        assert_eq!(answer.status, 201, "{data}: {}", answer.text());
        answer.json()["data"].take()
    }

    /// Makes a conference and returns its path below the account.
    pub(crate) fn conference(&self, data: Value) -> String {
        let document = self.make("conferences", data);
        format!("/conferences/{}", document["id"].as_str().expect("an id"))
    }

    /// Says what is wrong with a document that is not taken: the answer's data.
    pub(crate) fn refuses(&self, collection: &str, data: Value) -> Value {
        let answer = self.ask("PUT", &format!("/{collection}"), &json!({ "data": data }));
        is_error(&answer, 400, "validation error")
    }
}

/// Asserts a success and returns its data.
#[track_caller]
pub(crate) fn is_success(answer: &HttpAnswer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    let mut envelope = answer.json();
    assert_eq!(envelope["status"], "success", "{envelope}");
    envelope["data"].take()
}

/// Asserts an error of this kind and returns its data.
#[track_caller]
pub(crate) fn is_error(answer: &HttpAnswer, status: u16, message: &str) -> Value {
    let mut envelope = answer.json();
    assert_eq!(
        (answer.status, envelope["message"].as_str()),
        (status, Some(message)),
        "{envelope}"
    );
    assert_eq!(
        (&envelope["status"], &envelope["error"]),
        (&json!("error"), &json!(status.to_string()))
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    envelope["data"].take()
}

/// Asserts one broken rule and returns what is told about it.
#[track_caller]
pub(crate) fn breaks(data: &Value, field: &str, rule: &str) -> Value {
    assert!(data[field][rule]["message"].is_string(), "{data}");
    data[field][rule].clone()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A caller within a room.
pub(crate) struct Caller {
    pub(crate) participant: Participant,
    /// As the API knows him.
    pub(crate) id: u64,
}

/// A conference with callers in it.
pub(crate) struct Room {
    pub(crate) site: &'static Site,
    /// Its path below the account.
    pub(crate) path: String,
    pub(crate) number: String,
    pub(crate) moderators: String,
    pub(crate) phone: Phone,
    pub(crate) engine: RtpEngine,
}

impl Room {
    /// Makes a conference without tones and prompts in which everybody is heard; `more` is added to its document.
    pub(crate) fn new(more: Value) -> Room {
        Room::at(site(), more)
    }

    /// Makes it on a certain server.
    pub(crate) fn at(site: &'static Site, more: Value) -> Room {
        let (number, moderators) = (self::number(), self::number());
        let mut document = json!({
            "play_entry_tone": false,
            "play_exit_tone": false,
            "member": {"join_muted": false, "numbers": [number]},
            "moderator": {"numbers": [moderators]},
        });
        if let Value::Object(more) = more {
            for (key, value) in more {
                document[key] = value;
            }
        }
        quiet(&mut document);
        Room {
            path: site.conference(document),
            site,
            number,
            moderators,
            phone: Phone::udp(site.server.sip).expect("a phone"),
            engine: RtpEngine::start(EngineConfig::default()).expect("an engine"),
        }
    }

    /// Lets a member in under this caller number, who sends silence.
    pub(crate) fn member(&self, caller: &str) -> Caller {
        self.join(&self.number, caller, Source::silence(Law::Mu))
    }

    /// Lets a moderator in.
    pub(crate) fn moderator(&self, caller: &str) -> Caller {
        self.join(&self.moderators, caller, Source::silence(Law::Mu))
    }

    pub(crate) fn join(&self, number: &str, caller: &str, source: Source) -> Caller {
        self.join_with(Joining::default().sends(source), number, caller)
    }

    pub(crate) fn join_with(&self, joining: Joining, number: &str, caller: &str) -> Caller {
        let joined = joining.caller(caller).join(&self.phone, &self.engine, number);
        let participant = joined.expect("joined");
        let id = soon("the caller", || {
            self.participants()
                .iter()
                .find(|participant| participant["caller_id_number"] == caller)
                .and_then(|participant| participant["participant_id"].as_u64())
        });
        Caller { participant, id }
    }

    pub(crate) fn participants(&self) -> Vec<Value> {
        let answer = self.site.get(&format!("{}/participants", self.path));
        match is_success(&answer, 200) {
            Value::Array(list) => list,
            other => panic!("{other}"),
        }
    }

    /// Returns one participant as the API shows him.
    pub(crate) fn participant(&self, caller: &Caller) -> Value {
        let answer = self
            .site
            .get(&format!("{}/participants/{}", self.path, caller.id));
        is_success(&answer, 200)
    }

    /// Returns the live data of the conference.
    pub(crate) fn live(&self) -> Value {
        is_success(&self.site.get(&self.path), 200)["_read_only"].take()
    }

    /// Does something to the conference.
    pub(crate) fn act(&self, action: &str) -> HttpAnswer {
        self.put("", &json!({"data": {"action": action}}))
    }

    /// Does something to one participant.
    pub(crate) fn act_on(&self, caller: &Caller, action: &str) -> HttpAnswer {
        self.put(
            &format!("/participants/{}", caller.id),
            &json!({"data": {"action": action}}),
        )
    }

    /// Does something to everybody.
    pub(crate) fn act_on_all(&self, action: &str) -> HttpAnswer {
        self.put("/participants", &json!({"data": {"action": action}}))
    }

    pub(crate) fn put(&self, below: &str, body: &Value) -> HttpAnswer {
        self.site.ask("PUT", &format!("{}{below}", self.path), body)
    }

    /// Returns a flag of each of these participants.
    pub(crate) fn flags(&self, callers: &[&Caller], flag: &str) -> Vec<bool> {
        let flag_of = |caller: &&Caller| self.participant(caller)[flag].as_bool().expect("a flag");
        callers.iter().map(flag_of).collect()
    }
}
