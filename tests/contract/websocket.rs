//! Live events over WebSocket (lines 202 to 220), with a client of another make.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use confab_testkit::g711::Law;
use confab_testkit::rtp::Source;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use crate::fixture::{Caller, Room, SOON, Site, is_success, site, soon};

/// A subscriber.
pub(crate) struct Socket {
    socket: WebSocket<TcpStream>,
    token: String,
    account: String,
    /// Events that came while a reply was waited for.
    early: Vec<Value>,
}

impl Socket {
    pub(crate) fn open(site: &Site) -> Socket {
        Socket::open_at(site, "/")
    }

    fn open_at(site: &Site, path: &str) -> Socket {
        let address = site.server.websocket.expect("a WebSocket address");
        let stream = TcpStream::connect(address).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut attempt = client(format!("ws://{address}{path}"), stream);
        let socket = loop {
            attempt = match attempt {
                Ok((socket, _)) => break socket,
                Err(tokio_tungstenite::tungstenite::HandshakeError::Interrupted(again)) => again.handshake(),
                Err(error) => panic!("no WebSocket: {error}"),
            };
        };
        Socket {
            socket,
            token: site.api.token().expect("a token").to_owned(),
            account: site.api.account_id().to_owned(),
            early: Vec::new(),
        }
    }

    /// Returns the next frame within a time.
    pub(crate) fn frame(&mut self, within: Duration) -> Option<Value> {
        let deadline = Instant::now() + within;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Some(serde_json::from_str(&text).expect("a frame is JSON"));
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => panic!("the connection is over: {error}"),
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    /// Sends a message and returns its reply.
    fn ask(&mut self, mut message: Value) -> Value {
        message["request_id"] = "ours".into();
        self.socket
            .send(Message::text(message.to_string()))
            .expect("sent");
        loop {
            let frame = self.frame(SOON).expect("a reply");
            if frame["action"] == "reply" {
                assert_eq!(frame["request_id"], "ours");
                return frame;
            }
            self.early.push(frame);
        }
    }

    /// Subscribes and returns the reply.
    fn ask_for(&mut self, data: Value) -> Value {
        let token = self.token.clone();
        let mut data = data;
        if data.get("account_id").is_none() {
            data["account_id"] = self.account.clone().into();
        }
        self.ask(json!({"action": "subscribe", "auth_token": token, "data": data}))
    }

    /// Subscribes to one binding.
    pub(crate) fn bind(&mut self, binding: &str) {
        let reply = self.ask_for(json!({ "binding": binding }));
        assert_eq!(reply["status"], "success", "{reply}");
    }

    /// Returns the next event frame of that name; others before it are left out.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        loop {
            let frame = if self.early.is_empty() {
                self.frame(SOON)
                    .unwrap_or_else(|| panic!("no {name} within {SOON:?}"))
            } else {
                self.early.remove(0)
            };
            if frame["data"]["event"] == name {
                return frame;
            }
        }
    }

    /// Returns the names of the events up to and including one; those of who talks and has the floor are left out.
    fn names_to(&mut self, last: &str) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let frame = self
                .frame(SOON)
                .unwrap_or_else(|| panic!("no {last} after {names:?}"));
            let name = frame["data"]["event"].as_str().expect("a name").to_owned();
            if !name.contains("talking") && name != "floor-change" {
                names.push(name.clone());
            }
            if name == last {
                return names;
            }
        }
    }

    fn is_silent(&mut self) -> bool {
        self.frame(Duration::from_millis(700)).is_none()
    }
}

fn id_of(room: &Room) -> &str {
    room.path.rsplit('/').next().expect("an id")
}

pub(crate) fn all_of(room: &Room) -> String {
    format!("conference.event.{}.*", id_of(room))
}

fn errors(reply: &Value) -> &Value {
    assert_eq!(reply["status"], "error", "{reply}");
    &reply["data"]["errors"]
}

/// Sends the request for a WebSocket with a further header and returns the status.
fn refusal(site: &Site, header: &str, value: &str) -> u16 {
    let address = site.server.websocket.expect("a WebSocket address");
    let mut request = format!("ws://{address}/")
        .into_client_request()
        .expect("a request");
    let name: tokio_tungstenite::tungstenite::http::HeaderName = header.parse().expect("a name");
    request
        .headers_mut()
        .insert(name, value.parse().expect("a value"));
    match client(request, TcpStream::connect(address).expect("connected")) {
        Err(tokio_tungstenite::tungstenite::HandshakeError::Failure(Error::Http(response))) => {
            response.status().as_u16()
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn line_202_a_websocket_is_on_any_path_and_has_no_subprotocol() {
    for path in ["/", "/socket", "/v2/x?y=z"] {
        let reply = Socket::open_at(site(), path).ask(json!({"action": "ping"}));
        assert_eq!(reply["data"]["response"], "pong", "{path}");
    }
    assert_eq!(refusal(site(), "Sec-WebSocket-Protocol", "chat"), 400);
}

#[test]
fn line_203_a_ping_is_answered_with_its_request_id() {
    let mut socket = Socket::open(site());
    let reply = socket.ask(json!({"action": "ping"}));
    let expected =
        json!({"action": "reply", "request_id": "ours", "status": "success", "data": {"response": "pong"}});
    assert_eq!(reply, expected);
}

#[test]
fn line_204_the_reply_to_a_subscription_lists_it() {
    let mut socket = Socket::open(site());
    let binding = "conference.event.0123456789abcdef0123456789abcdef.*";
    let reply = socket.ask_for(json!({ "binding": binding }));
    assert_eq!(reply["status"], "success");
    assert_eq!(reply["data"]["subscribed"], json!([binding]));
}

#[test]
fn line_205_a_bad_token_is_told_in_the_words_that_clients_look_for() {
    let mut socket = Socket::open(site());
    let account = socket.account.clone();
    let data = json!({"account_id": account, "binding": "conference.event.*.*"});
    let reply = socket.ask(json!({"action": "subscribe", "auth_token": "nonsense", "data": data}));
    assert_eq!(errors(&reply), &json!(["failed to authenticate token nonsense"]));
    let reply = socket.ask(json!({"action": "subscribe", "data": data}));
    assert_eq!(errors(&reply), &json!(["authentication token required"]));
    // The socket stays open, and a good token is taken.
    assert_eq!(
        socket.ask_for(json!({"binding": "conference.event.*.*"}))["status"],
        "success"
    );
}

#[test]
fn line_206_missing_data_and_keys_are_told() {
    let mut socket = Socket::open(site());
    let token = socket.token.clone();
    let reply = socket.ask(json!({"action": "subscribe", "auth_token": token}));
    assert_eq!(errors(&reply), &json!(["missing required keys in data object"]));
    let reply = socket.ask(json!({"action": "subscribe", "data": {"x": 1}}));
    assert_eq!(
        errors(&reply),
        &json!(["missing required keys : account_id, binding"])
    );
    let reply = socket.ask_for(json!({"binding": "conference.event.x"}));
    assert_eq!(
        errors(&reply),
        &json!(["invalid format for conference subscription : conference.event.x"])
    );
    let reply = socket.ask_for(json!({"binding": "call.CHANNEL_CREATE.*"}));
    assert_eq!(
        errors(&reply),
        &json!(["no available subscriptions to requested binding"])
    );
}

#[test]
fn line_207_the_events_of_an_account_that_is_not_ones_own_are_refused() {
    let mut socket = Socket::open(site());
    let foreign = json!({"account_id": "f".repeat(32), "binding": "conference.event.*.*"});
    assert_eq!(
        errors(&socket.ask_for(foreign)),
        &json!(["unauthorized account id"])
    );
    // The master account may ask for those of all.
    let all = json!({"account_id": "*", "binding": "conference.event.*.*"});
    assert_eq!(socket.ask_for(all)["status"], "success");
}

#[test]
fn line_208_after_an_unsubscription_nothing_comes() {
    let room = Room::new(json!({}));
    let caller = room.member("w208");
    let mut socket = Socket::open(room.site);
    let binding = all_of(&room);
    socket.bind(&binding);
    is_success(&room.act("lock"), 202);
    socket.event("lock");
    let account = socket.account.clone();
    let data = json!({"account_id": account, "binding": binding});
    let reply = socket.ask(json!({"action": "unsubscribe", "data": data}));
    assert_eq!(
        reply["data"],
        json!({"unsubscribed": [binding], "subscribed": []})
    );
    is_success(&room.act("unlock"), 202);
    assert!(socket.is_silent());
    drop(caller);
}

#[test]
fn line_209_an_unsubscription_without_data_ends_all() {
    let room = Room::new(json!({}));
    let _caller = room.member("w209");
    let mut socket = Socket::open(room.site);
    let (one, other) = (all_of(&room), format!("conference.event.lock.{}.*", id_of(&room)));
    socket.bind(&one);
    socket.bind(&other);
    let reply = socket.ask(json!({"action": "unsubscribe"}));
    assert_eq!(
        reply["data"],
        json!({"unsubscribed": [one, other], "subscribed": []})
    );
    is_success(&room.act("lock"), 202);
    assert!(socket.is_silent());
}

#[test]
fn line_210_several_bindings_in_one_message_are_all_served() {
    let room = Room::new(json!({}));
    let _caller = room.member("w210");
    let mut socket = Socket::open(room.site);
    let bindings = [all_of(&room), format!("conference.event.lock.{}.*", id_of(&room))];
    let reply = socket.ask_for(json!({ "bindings": bindings }));
    assert_eq!(reply["data"]["subscribed"], json!(bindings));
    is_success(&room.act("lock"), 202);
    let keys = [socket.event("lock"), socket.event("lock")].map(|frame| frame["subscribed_key"].clone());
    assert_eq!(json!(keys), json!(bindings));
}

#[test]
fn line_211_an_event_has_the_binding_as_it_was_sent_and_every_key() {
    let room = Room::new(json!({}));
    let mut socket = Socket::open(room.site);
    let binding = all_of(&room);
    socket.bind(&binding);
    let caller = room.member("w211");
    let frame = socket.event("add-member");
    assert_eq!(frame["action"], "event");
    assert_eq!(frame["subscribed_key"], binding);
    assert_eq!(frame["name"], "participant_event");
    let data = &frame["data"];
    assert_eq!(data["participant_id"], caller.id);
    assert_eq!(data["call_id"], room.participant(&caller)["call_id"]);
    assert_eq!(data["conference_id"], id_of(&room));
    assert_eq!(data["event_category"], "conference");
    assert_eq!(data["event_name"], "participant_event");
    assert_eq!(data["caller_id_number"], "w211");
    for flag in [
        "floor",
        "hear",
        "speak",
        "talking",
        "mute_detect",
        "video",
        "is_moderator",
    ] {
        assert!(data[flag].is_boolean(), "{flag}: {data}");
        assert_eq!(data["conference_channel_vars"][flag], data[flag], "{flag}");
    }
    for number in ["energy_level", "current_energy", "sequence"] {
        assert!(data[number].is_u64(), "{number}: {data}");
    }
    for text in [
        "instance_id",
        "focus",
        "caller_id_name",
        "channel_presence_id",
        "routing_key",
        "msg_id",
        "node",
        "app_name",
        "app_version",
        "account_id",
    ] {
        assert!(data[text].is_string(), "{text}: {data}");
    }
    for object in ["custom_channel_vars", "custom_application_vars"] {
        assert!(data[object].is_object(), "{object}: {data}");
    }
}

#[test]
fn line_212_the_binding_of_monster_ui_is_served() {
    let room = Room::new(json!({}));
    let mut socket = Socket::open(room.site);
    let binding = format!("conference.event.*.{}.*", id_of(&room));
    socket.bind(&binding);
    let caller = room.member("w212");
    assert_eq!(socket.event("add-member")["subscribed_key"], binding);
    is_success(&room.act("lock"), 202);
    assert_eq!(socket.event("lock")["subscribed_key"], binding);
    drop(caller);
}

#[test]
fn line_213_a_binding_to_one_call_brings_its_events_only() {
    let room = Room::new(json!({}));
    let (one, other) = (room.member("w213a"), room.member("w213b"));
    let mut socket = Socket::open(room.site);
    let call = room.participant(&one)["call_id"]
        .as_str()
        .expect("a call")
        .to_owned();
    socket.bind(&format!("conference.event.{}.{call}", id_of(&room)));
    for (caller, action) in [(&other, "mute"), (&one, "deaf")] {
        is_success(&room.act_on(caller, action), 202);
    }
    is_success(&room.act("lock"), 202);
    is_success(&room.act_on(&one, "undeaf"), 202);
    assert_eq!(socket.names_to("undeaf-member"), ["deaf-member", "undeaf-member"]);
}

#[test]
fn line_214_a_binding_to_one_event_brings_it_only() {
    let room = Room::new(json!({}));
    let (one, other) = (room.member("w214a"), room.member("w214b"));
    let mut socket = Socket::open(room.site);
    socket.bind(&format!("conference.event.mute-member.{}.*", id_of(&room)));
    for (caller, action) in [(&one, "deaf"), (&one, "mute"), (&one, "unmute"), (&other, "mute")] {
        is_success(&room.act_on(caller, action), 202);
    }
    let ids = [socket.event("mute-member"), socket.event("mute-member")]
        .map(|frame| frame["data"]["participant_id"].clone());
    assert_eq!(json!(ids), json!([one.id, other.id]));
    assert!(socket.is_silent());
}

/// Lets a caller talk, or not.
fn talk(caller: &Caller, talks: bool) {
    let source = if talks {
        Source::tone(Law::Mu, 700.0, -20.0)
    } else {
        Source::silence(Law::Mu)
    };
    caller.participant.stream.set_source(Some(source));
}

#[test]
fn line_215_talking_is_told_when_speech_begins_and_ends() {
    let room = Room::new(json!({}));
    let caller = room.member("w215");
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    for _ in 0..2 {
        talk(&caller, true);
        let began = socket.event("start-talking");
        assert_eq!(
            (&began["data"]["talking"], &began["data"]["participant_id"]),
            (&json!(true), &json!(caller.id))
        );
        talk(&caller, false);
        assert_eq!(socket.event("stop-talking")["data"]["talking"], false);
    }
}

#[test]
fn line_216_mute_and_deaf_are_told() {
    let room = Room::new(json!({}));
    let caller = room.member("w216");
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    for (action, event, flag, value) in [
        ("mute", "mute-member", "speak", false),
        ("unmute", "unmute-member", "speak", true),
        ("deaf", "deaf-member", "hear", false),
        ("undeaf", "undeaf-member", "hear", true),
    ] {
        is_success(&room.act_on(&caller, action), 202);
        assert_eq!(socket.event(event)["data"][flag], value, "{event}");
    }
    // Who is muted while he talks stops talking.
    talk(&caller, true);
    socket.event("start-talking");
    is_success(&room.act_on(&caller, "mute"), 202);
    assert_eq!(socket.event("mute-member")["data"]["talking"], false);
    assert_eq!(socket.event("stop-talking")["data"]["speak"], false);
}

#[test]
fn line_217_leaving_is_told_whoever_ended_the_call() {
    let room = Room::new(json!({}));
    let (stays, goes, kicked) = (room.member("w217a"), room.member("w217b"), room.member("w217c"));
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    goes.participant.call.bye(SOON).expect("answered");
    let left = socket.event("del-member");
    assert_eq!(left["data"]["participant_id"], goes.id);
    assert_eq!(left["data"]["hear"], true, "with the last flags");
    is_success(&room.act_on(&kicked, "kick"), 202);
    assert_eq!(socket.event("kick-member")["data"]["participant_id"], kicked.id);
    assert_eq!(socket.event("del-member")["data"]["participant_id"], kicked.id);
    drop(stays);
}

#[test]
fn line_218_lock_unlock_beginning_and_end_are_told() {
    let room = Room::new(json!({}));
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    let caller = room.member("w218");
    is_success(&room.act("lock"), 202);
    is_success(&room.act("unlock"), 202);
    caller.participant.call.bye(SOON).expect("answered");
    let expected = [
        "conference-create",
        "add-member",
        "lock",
        "unlock",
        "del-member",
        "conference-destroy",
    ];
    assert_eq!(socket.names_to("conference-destroy"), expected);
}

#[test]
fn line_219_each_of_two_subscribers_gets_everything_once() {
    let room = Room::new(json!({}));
    let mut sockets = [Socket::open(room.site), Socket::open(room.site)];
    for socket in &mut sockets {
        socket.bind(&all_of(&room));
        // Again: it does no harm.
        socket.bind(&all_of(&room));
    }
    let caller = room.member("w219");
    for action in ["mute", "unmute", "mute"] {
        is_success(&room.act_on(&caller, action), 202);
    }
    caller.participant.call.bye(SOON).expect("answered");
    for socket in &mut sockets {
        let mut sequences = Vec::new();
        loop {
            let frame = socket.frame(SOON).expect("an event");
            sequences.push(frame["data"]["sequence"].as_u64().expect("a number"));
            if frame["data"]["event"] == "conference-destroy" {
                break;
            }
        }
        let all: Vec<u64> = (1..=sequences.len() as u64).collect();
        assert_eq!(sequences, all, "none missing, none twice, in order");
    }
}

#[test]
fn line_220_sessions_and_their_bindings_are_listed() {
    let mut socket = Socket::open(site());
    let binding = "conference.event.0123456789abcdef0123456789abcdef.*";
    let reply = socket.ask_for(json!({ "binding": binding }));
    assert_eq!(reply["status"], "success");
    let local = socket
        .socket
        .get_ref()
        .local_addr()
        .expect("an address")
        .to_string();
    let shown = |path: &str| is_success(&site().get(path), 200);
    let list = shown("/websockets");
    let listed = list.as_array().expect("a list");
    let own = listed
        .iter()
        .find(|session| session["websocket_session_id"] == local.as_str())
        .expect("it is listed");
    assert_eq!(own["bindings"], json!([binding]));
    assert_eq!(own["source"], "127.0.0.1");
    assert!(own["destination"].is_string() && own["timestamp"].is_u64());
    assert_eq!(&shown(&format!("/websockets/{local}")), own);
    socket.ask(json!({"action": "unsubscribe"}));
    assert_eq!(shown(&format!("/websockets/{local}"))["bindings"], json!([]));
    drop(socket);
    soon("the end of the session", || {
        (site().get(&format!("/websockets/{local}")).status == 404).then_some(())
    });
    let known = site().anonymous("GET", "/v2/websockets", &[], "");
    assert!(is_success(&known, 200)["conference"].is_array());
}

#[test]
fn a_subscriber_goes_on_where_he_left_off() {
    let room = Room::new(json!({}));
    let caller = room.member("resume");
    let binding = all_of(&room);
    let reading = room.live();
    let instance = reading["instance_id"].clone();
    let from = reading["sequence"].as_u64().expect("a number");
    for action in ["mute", "unmute", "deaf", "undeaf"] {
        is_success(&room.act_on(&caller, action), 202);
    }
    let mut socket = Socket::open(room.site);
    let after = |instance: &Value, sequence: u64| json!({"instance_id": instance, "sequence": sequence});
    let reply = socket.ask_for(json!({"binding": binding, "after": after(&instance, from)}));
    assert_eq!(reply["status"], "success", "{reply}");
    is_success(&room.act("lock"), 202);
    let names = socket.names_to("lock");
    assert_eq!(
        names,
        [
            "mute-member",
            "unmute-member",
            "deaf-member",
            "undeaf-member",
            "lock"
        ]
    );
    let other = json!("0".repeat(32));
    for after in [after(&other, from), after(&instance, 1_000_000)] {
        let mut stranger = Socket::open(room.site);
        let reply = stranger.ask_for(json!({"binding": binding, "after": after}));
        assert_eq!(errors(&reply), &json!(["events no longer available"]));
    }
}

#[test]
fn commands_that_are_carried_out_are_told_to_who_asked_for_them() {
    let room = Room::new(json!({}));
    let caller = room.member("commands");
    let mut socket = Socket::open(room.site);
    let binding = format!("conference.command.{}", id_of(&room));
    socket.bind(&binding);
    is_success(&room.act("lock"), 202);
    is_success(&room.act_on(&caller, "mute"), 202);
    let tone = json!({"data": {"action": "play", "data": {"media_id": "tone_stream://%(50,0,440)"}}});
    is_success(&room.put("", &tone), 202);
    let mut told = Vec::new();
    for _ in 0..3 {
        let frame = socket.frame(SOON).expect("a command");
        assert_eq!(frame["subscribed_key"], binding);
        assert_eq!(frame["data"]["event_name"], "command");
        told.push(frame["data"]["application_name"].clone());
    }
    assert_eq!(json!(told), json!(["lock", "mute_participant", "play"]));
    assert!(socket.is_silent(), "no events");
}

#[test]
fn what_is_not_to_be_published_is_not() {
    let site: &'static Site = Box::leak(Box::new(Site::start(&[
        (
            "events.publish_participant_event",
            "[\"add-member\", \"del-member\"]",
        ),
        ("events.publish_conference_event", "[\"lock\"]"),
        ("http.max_connections_per_ip", "2"),
    ])));
    let room = Room::at(site, json!({}));
    let mut socket = Socket::open(site);
    socket.bind(&all_of(&room));
    let caller = room.member("filter");
    is_success(&room.act_on(&caller, "mute"), 202);
    is_success(&room.act("lock"), 202);
    is_success(&room.act("unlock"), 202);
    is_success(&room.act_on(&caller, "kick"), 202);
    assert_eq!(
        socket.names_to("del-member"),
        ["add-member", "lock", "del-member"]
    );
    // The third connection of an address is one too many here.
    let _second = Socket::open(site);
    assert_eq!(refusal(site, "X-Test", "third"), 429);
}
