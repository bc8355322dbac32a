//! A router over a real store in a temporary directory, conferences that run in memory, and a clock set by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use confab_api::{ApiConfig, ApiState, Clock, ControlError, LiveConferences, MediaProblem, Probes, router};
use confab_conference::*;
use confab_documents::{BootstrapConfig, Store, settings};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

/// Every conference core that was asked for, driven at once instead of by a task.
#[derive(Default)]
pub(crate) struct InMemory {
    running: Mutex<BTreeMap<(AccountId, ConferenceId), Conference>>,
    pub(crate) updates: Mutex<Vec<(ConferenceId, Settings)>>,
    /// What was to be played, stopped and sent; tones of entry and exit left out.
    pub(crate) played: Mutex<Vec<Effect>>,
    pub(crate) media: Mutex<BTreeMap<ParticipantId, MediaState>>,
    clock: Arc<HandClock>,
}

impl InMemory {
    fn with<T>(
        &self,
        account: &AccountId,
        id: &ConferenceId,
        act: impl FnOnce(&mut Conference) -> T,
    ) -> Option<T> {
        let mut running = self.running.lock().unwrap();
        let key = (account.clone(), id.clone());
        let conference = running.get_mut(&key)?;
        let result = act(conference);
        while let Some(output) = conference.poll_output() {
            if let Output::Effect(
                effect @ (Effect::Play { .. } | Effect::StopPlay { .. } | Effect::SendDigits { .. }),
            ) = output
            {
                self.played.lock().unwrap().push(effect);
            }
        }
        if conference.is_ended() {
            running.remove(&key);
        }
        Some(result)
    }

    pub(crate) fn act<T>(
        &self,
        account: &AccountId,
        id: &ConferenceId,
        act: impl FnOnce(&mut Conference) -> T,
    ) -> T {
        self.with(account, id, act).expect("the conference runs")
    }

    pub(crate) fn join(
        &self,
        account: &AccountId,
        id: &ConferenceId,
        settings: Settings,
        who: Caller,
        role: Role,
    ) -> u64 {
        let key = (account.clone(), id.clone());
        let identity = Identity {
            account_id: account.clone(),
            conference_id: id.clone(),
            instance_id: InstanceId::from("instance-1"),
        };
        // What a conference says by itself is no business of the interface.
        let settings = Settings {
            sounds: Sounds::default(),
            ..settings
        };
        let make = || Conference::new(identity, settings, Box::new(SequentialIds::default()));
        self.running.lock().unwrap().entry(key).or_insert_with(make);
        self.act(account, id, |conference| {
            let entry = match who.call_id.as_str() {
                "ghost" => Entry::CALLED_GHOST,
                _ => Entry::DialIn,
            };
            let participant = conference.reserve(who, role, entry).unwrap();
            conference.join(self.clock.gregorian(), participant).unwrap();
            participant.get()
        })
    }
}

#[async_trait]
impl LiveConferences for InMemory {
    async fn snapshot(&self, account: &AccountId, conference: &ConferenceId) -> Option<Snapshot> {
        let mut snapshot = self
            .with(account, conference, |conference| conference.snapshot().ok())
            .flatten()?;
        let media = self.media.lock().unwrap().clone();
        snapshot.media = media.into_iter().collect();
        Some(snapshot)
    }

    async fn control(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        control: Control,
    ) -> Result<(), ControlError> {
        let wall = self.clock.gregorian();
        let result = self.with(account, conference, |conference| {
            conference.control(wall, control)
        });
        Ok(result.ok_or(ControlError::NotRunning)??)
    }

    async fn end_all(&self, account: &AccountId) {
        self.running
            .lock()
            .unwrap()
            .retain(|(owner, _), _| owner != account);
    }

    async fn account_of(&self, conference: &ConferenceId) -> Option<AccountId> {
        let running = self.running.lock().unwrap();
        let mut accounts = running
            .keys()
            .filter(|(_, id)| id == conference)
            .map(|(account, _)| account.clone());
        accounts.next().filter(|_| accounts.next().is_none())
    }

    async fn move_participant(
        &self,
        account: &AccountId,
        from: &ConferenceId,
        participant: ParticipantId,
        to: &ConferenceId,
        settings: Settings,
    ) -> Result<ParticipantId, ControlError> {
        let wall = self.clock.gregorian();
        let moving = self.with(account, from, |conference| conference.moving(participant));
        let (caller, role, entry) = moving.ok_or(ControlError::NotRunning)??;
        if from == to {
            return Err(ControlError::MovedToSame(participant));
        }
        let identity = Identity {
            account_id: account.clone(),
            conference_id: to.clone(),
            instance_id: InstanceId::from("instance-2"),
        };
        // What a conference says by itself is no business of the interface.
        let settings = Settings {
            sounds: Sounds::default(),
            ..settings
        };
        let make = || Conference::new(identity, settings, Box::new(SequentialIds::default()));
        let key = (account.clone(), to.clone());
        self.running.lock().unwrap().entry(key).or_insert_with(make);
        let there = self.act(account, to, |conference| conference.reserve(caller, role, entry))?;
        let left = LeaveCause::Moved;
        self.act(account, from, |conference| {
            conference.leave(wall, participant, left)
        })?;
        self.act(account, to, |conference| conference.join(wall, there))?;
        Ok(there)
    }

    async fn check_media(&self, _: &AccountId, media: &MediaName) -> Result<(), MediaProblem> {
        match media.as_str() {
            "broken" | "prompt:en-us/broken" => Err(MediaProblem::Invalid("it is broken".into())),
            known if known.contains("://") => Ok(()),
            "prompt:en-us/conf-has_joined" | "prompt:fr-fr/mine" | MEDIA => Ok(()),
            said if said.contains("/say:") => Err(MediaProblem::Invalid("it cannot be said".into())),
            _ => Err(MediaProblem::Unknown),
        }
    }

    async fn check_tone(&self, account: &AccountId, media: &MediaName) -> Result<(), MediaProblem> {
        match media.as_str() {
            "silence_stream://-1" => Err(MediaProblem::Invalid("it never ends".into())),
            _ => self.check_media(account, media).await,
        }
    }

    async fn updated(&self, _: &AccountId, conference: &ConferenceId, settings: Settings) {
        self.updates.lock().unwrap().push((conference.clone(), settings));
    }
}

/// The id of the one medium that there is.
const MEDIA: &str = "00112233445566778899aabbccddeeff";

/// A clock that moves when told to.
pub(crate) struct HandClock {
    origin: Instant,
    ahead: Mutex<Duration>,
}

impl Default for HandClock {
    fn default() -> Self {
        HandClock {
            origin: Instant::now(),
            ahead: Mutex::default(),
        }
    }
}

impl HandClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.ahead.lock().unwrap() += by;
    }
}

/// 2026-11-22T06:00:00Z.
pub(crate) const START_UNIX: u64 = 1_795_327_200;

impl Clock for HandClock {
    fn monotonic(&self) -> Instant {
        self.origin + *self.ahead.lock().unwrap()
    }

    fn unix(&self) -> Duration {
        Duration::from_secs(START_UNIX) + *self.ahead.lock().unwrap()
    }
}

pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) live: Arc<InMemory>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) account: AccountId,
    pub(crate) api_key: String,
    pub(crate) token: String,
    _dir: TempDir,
}

/// A response with its body read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn data(&self) -> &Value {
        &self.json["data"]
    }

    /// Asserts an error envelope of that status and id.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, message: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.json["status"], "error");
        assert_eq!(self.json["error"], status.to_string());
        assert_eq!(self.json["message"], message);
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("access-control-allow-origin"), "*");
    }

    /// Asserts one broken rule.
    #[track_caller]
    pub(crate) fn breaks(&self, field: &str, rule: &str) {
        self.is_error(400, "validation error");
        assert!(self.data()[field][rule]["message"].is_string(), "{}", self.text);
    }
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::with_config(ApiConfig {
            node: "confab@test".into(),
            rate_limit: false,
            ..ApiConfig::default()
        })
        .await
    }

    pub(crate) async fn with_config(config: ApiConfig) -> Server {
        let dir = TempDir::new().unwrap();
        let url = confab_testkit::database::fresh();
        let store = Store::open_with_key(dir.path(), &url, None).await.unwrap();
        let bootstrap = BootstrapConfig {
            account_name: "Acme Inc".into(),
            ..BootstrapConfig::default()
        };
        let first = store.bootstrap(bootstrap).await.unwrap().unwrap();
        let clock = Arc::new(HandClock::default());
        let live = Arc::new(InMemory {
            clock: clock.clone(),
            ..InMemory::default()
        });
        let state = ApiState::with_clock(
            config,
            store.clone(),
            live.clone(),
            Probes::default(),
            clock.clone(),
        );
        let mut server = Server {
            router: router(state),
            store,
            live,
            clock,
            account: first.account_id,
            api_key: first.api_key,
            token: String::new(),
            _dir: dir,
        };
        server.token = server.login(&server.api_key.clone()).await;
        server
    }

    pub(crate) async fn login(&self, api_key: &str) -> String {
        let reply = self
            .send(
                "PUT",
                "/v2/api_auth",
                &[],
                &json!({"data": {"api_key": api_key}}).to_string(),
            )
            .await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.json["auth_token"].as_str().unwrap().to_owned()
    }

    /// Makes an account below `parent` and returns it with a token of its own.
    pub(crate) async fn child(&self, parent: &AccountId) -> (AccountId, String) {
        let body = json!({ "name": "Child" }).as_object().unwrap().clone();
        let account = self.store.create_account(parent, body).await.unwrap().account_id;
        let key = self.store.api_key(&account).await.unwrap().unwrap();
        let token = self.login(&key).await;
        (account, token)
    }

    /// Sends a request as it is given.
    pub(crate) async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send_bytes(method, uri, headers, body.as_bytes()).await
    }

    /// Sends a request whose body and headers need not be text.
    pub(crate) async fn send_bytes(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        let request = request.body(Body::from(body.to_vec())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply {
            status: parts.status,
            headers: parts.headers,
            bytes,
            text,
            json,
        }
    }

    /// Sends a request with the token; `path` is below the account.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Reply {
        self.ask_with(method, path, &[], body).await
    }

    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Reply {
        let uri = self.uri(path);
        let mut all = vec![
            ("x-auth-token", self.token.as_str()),
            (header::CONTENT_TYPE.as_str(), "application/json"),
        ];
        all.extend(headers);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(method, &uri, &all, &body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, Value::Null).await
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("/v2/accounts/{}{path}", self.account)
    }

    /// Makes a conference and returns its id.
    pub(crate) async fn conference(&self, data: Value) -> String {
        let reply = self.ask("PUT", "/conferences", json!({ "data": data })).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.data()["id"].as_str().unwrap().to_owned()
    }

    /// Lets a caller join a stored conference and returns the participant id.
    pub(crate) async fn join(&self, conference: &str, call_id: &str, role: Role) -> u64 {
        let id = ConferenceId::from(conference);
        let document = self.store.conference(&self.account, &id).await.unwrap().unwrap();
        let caller = Caller {
            caller_id_name: "Alice".into(),
            caller_id_number: "100".into(),
            account_id: Some(self.account.clone()),
            channel_vars: [("realm".to_owned(), "example.com".to_owned())].into(),
            application_vars: [("foo".to_owned(), "bar".to_owned())].into(),
            ..Caller::new(call_id)
        };
        self.live
            .join(&self.account, &id, settings(&document), caller, role)
    }
}
