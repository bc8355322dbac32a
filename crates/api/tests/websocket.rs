//! Sessions over real sockets: who is too slow, too silent or too long-winded, and the end of the server.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::serve::ListenerExt as _;
use confab_api::event::EventBus;
use confab_api::websocket::{self, WebSocketConfig};
use confab_api::{ApiConfig, ApiState, ControlError, LiveConferences, MediaProblem, Probes};
use confab_conference::*;
use confab_documents::{BootstrapConfig, Store};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tower::ServiceExt as _;

const SOON: Duration = Duration::from_secs(20);
const API_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

struct NothingRuns;

#[async_trait]
impl LiveConferences for NothingRuns {
    async fn snapshot(&self, _: &AccountId, _: &ConferenceId) -> Option<Snapshot> {
        None
    }
    async fn control(&self, _: &AccountId, _: &ConferenceId, _: Control) -> Result<(), ControlError> {
        Err(ControlError::NotRunning)
    }
    async fn end_all(&self, _: &AccountId) {}
    async fn account_of(&self, _: &ConferenceId) -> Option<AccountId> {
        None
    }
    async fn move_participant(
        &self,
        _: &AccountId,
        _: &ConferenceId,
        _: ParticipantId,
        _: &ConferenceId,
        _: Settings,
    ) -> Result<ParticipantId, ControlError> {
        Err(ControlError::NotRunning)
    }
    async fn check_media(&self, _: &AccountId, _: &MediaName) -> Result<(), MediaProblem> {
        Err(MediaProblem::Unknown)
    }
    async fn check_tone(&self, _: &AccountId, _: &MediaName) -> Result<(), MediaProblem> {
        Err(MediaProblem::Unknown)
    }
    async fn updated(&self, _: &AccountId, _: &ConferenceId, _: Settings) {}
}

/// A WebSocket server over a bus that the test publishes on.
struct House {
    bus: EventBus,
    rest: axum::Router,
    account: AccountId,
    token: String,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

/// Another account's login.
struct Below {
    account: String,
    token: String,
}

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl House {
    async fn open(adapt: impl FnOnce(WebSocketConfig) -> WebSocketConfig) -> House {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), "").await.unwrap();
        let bootstrap = BootstrapConfig {
            api_key: API_KEY.into(),
            ..BootstrapConfig::default()
        };
        store.bootstrap(bootstrap).await.unwrap();
        let account = store.bootstrap_account().await.unwrap().unwrap().id;
        let bus = EventBus::default();
        let config = ApiConfig {
            rate_limit: false,
            ..ApiConfig::default()
        };
        let state = ApiState::new(config, store, Arc::new(NothingRuns), Probes::default());
        let state = state.with_events(bus.clone());
        let rest = confab_api::router(state.clone());
        let login = axum::http::Request::put("/v2/api_auth")
            .body(axum::body::Body::from(
                json!({"data": {"api_key": API_KEY}}).to_string(),
            ))
            .unwrap();
        let answer = rest.clone().oneshot(login).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 100_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let token = body["auth_token"].as_str().unwrap().to_owned();
        let (stop, stopped) = watch::channel(false);
        let router = websocket::router(state, adapt(WebSocketConfig::new(stopped)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener.tap_io(|_| ()), service).await });
        House {
            bus,
            rest,
            account,
            token,
            address,
            stop,
            _directory: directory,
        }
    }

    /// Asks over HTTP, as the first account, and returns the answer's `data`.
    async fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("x-auth-token", &self.token)
            .body(axum::body::Body::from(
                body.map(Value::to_string).unwrap_or_default(),
            ))
            .unwrap();
        let answer = self.rest.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 100_000).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Makes an account below the first one and logs in there.
    async fn token_below(&self) -> Below {
        let body = json!({"data": {"name": "below"}});
        let path = format!("/v2/accounts/{}", self.account.as_str());
        let made = self.api("PUT", &path, Some(&body)).await;
        let account = made["data"]["id"].as_str().unwrap().to_owned();
        let key = self
            .api("GET", &format!("/v2/accounts/{account}/api_key"), None)
            .await;
        let key = json!({"data": {"api_key": key["data"]["api_key"]}});
        let login = self.api("PUT", "/v2/api_auth", Some(&key)).await;
        Below {
            account,
            token: login["auth_token"].as_str().unwrap().to_owned(),
        }
    }

    fn subscription(&self) -> String {
        let data = json!({"account_id": self.account.as_str(), "binding": "conference.event.c1.*"});
        json!({"action": "subscribe", "auth_token": self.token, "data": data}).to_string()
    }

    /// Connects and subscribes.
    async fn subscriber(&self) -> Client {
        let (mut client, _) = connect_async(format!("ws://{}/", self.address)).await.unwrap();
        client.send(Message::text(self.subscription())).await.unwrap();
        assert_eq!(next(&mut client).await["status"], "success");
        client
    }

    fn publish(&self, sequence: u64) {
        self.bus.publish(Arc::new(Event {
            sequence,
            account: self.account.clone(),
            conference: ConferenceId::from("c1"),
            instance_id: InstanceId::from("i1"),
            at: GregorianSeconds(1),
            kind: EventKind::PlayFile,
            participant: None,
            // About as long as an event of a leg.
            file: Some(MediaName::from("x".repeat(2000).as_str())),
            data: None,
        }));
    }
}

async fn next(client: &mut Client) -> Value {
    match timeout(SOON, client.next()).await.unwrap().unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Reads to the end; returns the events' sequences, and code and reason of the close.
async fn rest(client: &mut Client) -> (Vec<u64>, Option<(u16, String)>) {
    let mut sequences = Vec::new();
    let mut close = None;
    while let Some(Ok(message)) = timeout(SOON, client.next()).await.unwrap() {
        match message {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                sequences.push(frame["data"]["sequence"].as_u64().unwrap());
            }
            Message::Close(frame) => {
                close = frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()));
            }
            _ => {}
        }
    }
    (sequences, close)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_subscriber_delays_nobody_and_is_told_what_became_of_him() {
    const EVENTS: u64 = 20_000;
    let house = House::open(|config| WebSocketConfig { queue: 64, ..config }).await;
    let mut quick = house.subscriber().await;
    let mut stalled = house.subscriber().await;
    let mut longest = Duration::ZERO;
    for sequence in 1..=EVENTS {
        let started = Instant::now();
        house.publish(sequence);
        longest = longest.max(started.elapsed());
        // One at a time: who reads has all of them.
        assert_eq!(next(&mut quick).await["data"]["sequence"], sequence);
    }
    assert_eq!(
        house.bus.overruns(),
        1,
        "the one who does not read lost his place"
    );
    assert_eq!(house.bus.written(), EVENTS, "each once, for both");
    // Publishing waits for nobody; a stall of the machine is not the server's.
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    let (got, close) = rest(&mut stalled).await;
    let all: Vec<u64> = (1..=got.len() as u64).collect();
    assert_eq!(got, all, "what he was sent is whole");
    assert!((got.len() as u64) < EVENTS);
    // Told, unless he read too late for that.
    if let Some((code, reason)) = close {
        assert_eq!(code, 1013);
        assert!(reason.contains("too slow"), "{reason}");
    }
    // He goes on where he was, if that is not too long ago.
    let mut again = house.subscriber().await;
    house.publish(EVENTS + 1);
    assert_eq!(next(&mut again).await["data"]["sequence"], EVENTS + 1);
}

#[tokio::test]
async fn who_is_slow_for_a_moment_is_told_in_the_close() {
    let house = House::open(|config| WebSocketConfig { queue: 8, ..config }).await;
    let mut client = house.subscriber().await;
    // In one turn of this thread: the session cannot read its queue meanwhile.
    (1..=20).for_each(|sequence| house.publish(sequence));
    let (got, close) = rest(&mut client).await;
    let (code, reason) = close.expect("a close frame");
    assert_eq!(code, 1013);
    assert!(reason.contains("after"), "{reason}");
    assert!(got.len() <= 8);
}

#[tokio::test]
async fn silence_long_messages_and_other_frames_end_a_session() {
    let idle = Duration::from_millis(300);
    let house = House::open(|config| WebSocketConfig { idle, ..config }).await;
    let ends = [
        (None, 1000, "nothing came"),
        (Some(Message::text("x".repeat(70_000))), 1009, "too large"),
        (Some(Message::binary(vec![1, 2])), 1003, "text"),
    ];
    for (message, expected, words) in ends {
        let mut client = house.subscriber().await;
        if let Some(message) = message {
            client.send(message).await.unwrap();
        }
        let (code, reason) = rest(&mut client).await.1.expect("a close frame");
        assert_eq!(code, expected, "{reason}");
        assert!(reason.contains(words), "{reason}");
    }
    // A ping of the protocol is answered, and keeps a session open.
    let mut client = house.subscriber().await;
    for _ in 0..6 {
        client.send(Message::Ping(vec![7].into())).await.unwrap();
        let pong = timeout(SOON, client.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(pong, Message::Pong(vec![7].into()));
        tokio::time::sleep(idle / 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pings_and_does_not_read_is_not_read_either() {
    const PINGS: usize = 400_000;
    let house = House::open(|config| config).await;
    let (mut client, _) = connect_async(format!("ws://{}/", house.address)).await.unwrap();
    // 50 MB of them and of their answers: more than the sockets between take.
    for sent in 0..PINGS {
        let ping = Message::Ping(vec![7; 125].into());
        match timeout(Duration::from_secs(2), client.feed(ping)).await {
            Ok(fed) => fed.unwrap(),
            // The server waits for its answers to be taken, and keeps none meanwhile.
            Err(_) => return assert!(sent > 0),
        }
    }
    panic!("the server has taken {PINGS} pings, and holds the answers");
}

#[tokio::test]
async fn tokens_of_an_account_that_is_off_see_nothing() {
    let house = House::open(|config| config).await;
    let below = house.token_below().await;
    let try_it = async || {
        let (mut client, _) = connect_async(format!("ws://{}/", house.address)).await.unwrap();
        let data = json!({"account_id": below.account, "binding": "conference.event.c1.*"});
        let message = json!({"action": "subscribe", "auth_token": below.token, "data": data});
        client.send(Message::text(message.to_string())).await.unwrap();
        next(&mut client).await
    };
    assert_eq!(try_it().await["status"], "success");
    // One who came when it was on, and asks for more without a token of his own.
    let (mut early, _) = connect_async(format!("ws://{}/", house.address)).await.unwrap();
    let more = |token: Option<&str>, binding: &str| {
        let data = json!({"account_id": below.account, "binding": binding});
        let mut message = json!({"action": "subscribe", "data": data});
        if let Some(token) = token {
            message["auth_token"] = token.into();
        }
        Message::text(message.to_string())
    };
    for (token, binding) in [
        (Some(below.token.as_str()), "conference.event.c1.*"),
        (None, "conference.event.c2.*"),
    ] {
        early.send(more(token, binding)).await.unwrap();
        assert_eq!(next(&mut early).await["status"], "success");
    }
    let off = json!({"data": {"enabled": false}});
    house
        .api("PATCH", &format!("/v2/accounts/{}", below.account), Some(&off))
        .await;
    let refused = try_it().await;
    let text = format!("failed to authenticate token {}", below.token);
    assert_eq!(refused["data"]["errors"], json!([text]));
    early.send(more(None, "conference.event.c3.*")).await.unwrap();
    assert_eq!(next(&mut early).await["data"]["errors"], json!([text]));
}

#[tokio::test]
async fn a_token_that_was_ended_subscribes_to_nothing_more() {
    let house = House::open(|config| config).await;
    let mut client = house.subscriber().await;
    let data = json!({"account_id": house.account.as_str(), "binding": "conference.event.c2.*"});
    let more = json!({"action": "subscribe", "data": data}).to_string();
    client.send(Message::text(more.clone())).await.unwrap();
    assert_eq!(next(&mut client).await["status"], "success");
    house.api("DELETE", "/v2/token_auth", None).await;
    client.send(Message::text(more)).await.unwrap();
    let text = format!("failed to authenticate token {}", house.token);
    assert_eq!(next(&mut client).await["data"]["errors"], json!([text]));
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let house = House::open(|config| config).await;
    let mut client = house.subscriber().await;
    house.stop.send(true).unwrap();
    let (code, _) = rest(&mut client).await.1.expect("a close frame");
    assert_eq!(code, 1001);
}

#[tokio::test]
async fn what_is_no_websocket_is_refused() {
    let house = House::open(|config| WebSocketConfig {
        max_connections_per_ip: 1,
        ..config
    })
    .await;
    let ask = async |head: &str| {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let request = format!("GET /any HTTP/1.1\r\nHost: x\r\n{head}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert!(ask("").await.starts_with('4'));
    assert_eq!(
        ask(&format!("{upgrade}Sec-WebSocket-Protocol: chat\r\n")).await,
        "400"
    );
    let client = house.subscriber().await;
    assert_eq!(ask(upgrade).await, "429");
    drop(client);
    let deadline = Instant::now() + SOON;
    while ask(upgrade).await != "101" {
        assert!(
            Instant::now() < deadline,
            "the place of who has gone is given back"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
