//! Events and commands by a real message broker (RabbitMQ), which is away at first, and goes and comes.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use confab_testkit::agent::{Callee, Device, Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ACCOUNT_ID, ConferenceControl, ServerBuilder, TempDir, free_address, signal};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::{Value, json};

/// Erlang takes its time on a machine that is busy.
const WAIT: Duration = Duration::from_secs(120);

/// A RabbitMQ of its own. Stopped when dropped.
struct Broker {
    child: Child,
    address: SocketAddr,
}

impl Broker {
    fn start(address: SocketAddr, folder: &Path) -> Broker {
        let free = || free_address().expect("a port").port().to_string();
        let child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq"))
            .args([&address.port().to_string(), &free(), &free()])
            .arg(folder)
            .stdin(Stdio::null())
            .spawn()
            .expect("it runs");
        let mut broker = Broker { child, address };
        let deadline = Instant::now() + WAIT;
        while TcpStream::connect(address).is_err() {
            let ended = broker.child.try_wait().expect("known");
            assert!(
                ended.is_none(),
                "RabbitMQ did not start: {ended:?} (tests/run installs it)"
            );
            assert!(Instant::now() < deadline, "RabbitMQ does not listen");
            std::thread::sleep(Duration::from_millis(200));
        }
        broker
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The script ends the broker and waits for it.
        let _ = signal(self.child.id(), libc::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Connects as a client.
async fn connect(url: &str) -> (Connection, Channel) {
    let deadline = Instant::now() + WAIT;
    // The port is open before the broker answers on it.
    let connection = loop {
        match Connection::connect(url, ConnectionProperties::default()).await {
            Ok(connection) => break connection,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// Makes a queue for all events of conferences, whether or not the exchange is there yet, and returns its name.
async fn queue_for_events(channel: &Channel) -> ShortString {
    queue_for(channel, "conference.event.#").await
}

/// The same for what has such a routing key.
async fn queue_for(channel: &Channel, key: &str) -> ShortString {
    let none = FieldTable::default;
    let declared = channel.exchange_declare(
        "conference".into(),
        ExchangeKind::Topic,
        ExchangeDeclareOptions::default(),
        none(),
    );
    declared.await.expect("an exchange");
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare("".into(), options, none())
        .await
        .expect("a queue");
    let name = queue.name().clone();
    let (exchange, key) = ("conference".into(), key.into());
    let bound = channel.queue_bind(name.clone(), exchange, key, QueueBindOptions::default(), none());
    bound.await.expect("bound");
    name
}

async fn consume(channel: &Channel, queue: ShortString) -> Consumer {
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
    consumer.await.expect("a consumer")
}

async fn next(consumer: &mut Consumer) -> (String, Value) {
    let delivery = tokio::time::timeout(WAIT, consumer.next())
        .await
        .expect("in time");
    let delivery = delivery.expect("a message").expect("a message");
    let body = serde_json::from_slice(&delivery.data).expect("JSON");
    (delivery.routing_key.to_string(), body)
}

/// Waits for an event of that name under the long key, and for its twin.
async fn event(consumer: &mut Consumer, name: &str) -> (String, String, Value) {
    let mut long: Option<(String, Value)> = None;
    loop {
        let (key, body) = next(consumer).await;
        if body["Event"] != name {
            continue;
        }
        match long.take() {
            None => long = Some((key, body)),
            Some((first, known)) => {
                assert_eq!(known, body, "the same under both keys");
                return (first, key, body);
            }
        }
    }
}

#[test]
fn events_and_commands_go_by_a_broker_that_comes_and_goes() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = TempDir::new("rabbitmq").expect("a directory");
    let address = free_address().expect("a port");
    let url = format!("amqp://guest:guest@{address}/%2f");
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("amqp.url", &format!("\"{url}\""))
        .set("amqp.commands", "true")
        .set("pin_guard.source_tries", "1")
        .set("bootstrap.realm", "\"phones.example\"")
        .start()
        .expect("started, although there is no broker");
    let room = server.first_conference().expect("the API");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");

    // What happens before the broker is there waits for it.
    let first = Participant::join_as(&phone, &engine, "3000", None, "ann", "ann").expect("joined");
    let broker = Broker::start(address, folder.path());
    assert_eq!(broker.url(), url);
    let _context = runtime.enter();
    let (_connection, channel, mut events) = runtime.block_on(async {
        let (connection, channel) = connect(&url).await;
        let queue = queue_for_events(&channel).await;
        let events = consume(&channel, queue).await;
        (connection, channel, events)
    });
    let connected = server.wait_metrics(WAIT, |metrics| {
        metrics.sum("confab_amqp_connections") == Some(1.0)
    });
    let metrics = connected.expect("connected");
    let early = metrics.labelled("confab_amqp_events_total", "outcome", "dropped");
    assert_eq!(early, 0.0, "nothing is lost so far");

    let id = room.id().to_owned();
    let second = Participant::join_as(&phone, &engine, "3000", None, "bob", "bob").expect("joined");
    let call_id = second.call.call_id().to_owned();
    let bob = |body: &Value| body["Call-ID"] == call_id.as_str();
    let (long, short, body) = runtime.block_on(async {
        loop {
            let found = event(&mut events, "add-member").await;
            if bob(&found.2) {
                return found;
            }
        }
    });
    let encoded = call_id.replace('@', "%40").replace('.', "%2E");
    assert_eq!(
        long,
        format!("conference.event.add-member.{ACCOUNT_ID}.{id}.{encoded}")
    );
    assert_eq!(short, format!("conference.event.{id}.{encoded}"));
    let participant = room.participant("bob").expect("listed");
    for (key, value) in [
        ("Event-Category", json!("conference")),
        ("Event-Name", json!("participant_event")),
        ("Conference-ID", json!(id)),
        ("Account-ID", json!(ACCOUNT_ID)),
        ("Participant-ID", json!(participant)),
        ("Caller-ID-Number", json!("bob")),
        ("Hear", json!(true)),
    ] {
        assert_eq!(body[key], value, "{key}: {body}");
    }
    assert_eq!(body["Conference-Channel-Vars"]["Member-ID"], json!(participant));

    // What belongs to no run of a conference comes the same way.
    let document = json!({"conference_numbers": ["7001"], "member": {"pins": ["4711"]}});
    let guarded = ConferenceControl::create(server.api().expect("a login"), document).expect("created");
    let guesser = Participant::join(&phone, &engine, "7001", None).expect("answered");
    guesser.types("1#").expect("sent");
    let (long, _, body) = runtime.block_on(event(&mut events, "pin-guard-block"));
    let guarded = guarded.id();
    assert_eq!(
        long,
        format!("conference.event.pin-guard-block.{ACCOUNT_ID}.{guarded}.{guarded}")
    );
    assert_eq!(
        (&body["Source"], &body["Blocked-S"]),
        (&json!("127.0.0.1"), &json!(900))
    );
    guesser.call.wait_request("BYE", WAIT).expect("turned away");

    // Commands.
    // As KAZOO's own, they need not say whose the conference is.
    let command = |keys: Value| {
        let mut message = json!({"Conference-ID": id});
        for (key, value) in keys.as_object().expect("keys") {
            message[key] = value.clone();
        }
        let text = message.to_string();
        let publishing = channel.basic_publish(
            "conference".into(),
            format!("conference.command.{id}").into(),
            BasicPublishOptions::default(),
            text.as_bytes(),
            BasicProperties::default(),
        );
        runtime.block_on(publishing).expect("published");
    };
    command(json!({"Application-Name": "nonsense"}));
    command(
        json!({"Application-Name": "mute_participant", "Account-ID": ACCOUNT_ID, "Participant-ID": participant}),
    );
    let muted = runtime.block_on(event(&mut events, "mute-member"));
    assert_eq!(
        (muted.2["Participant-ID"].as_u64(), &muted.2["Speak"]),
        (Some(participant), &json!(false))
    );
    command(json!({"Application-Name": "lock"}));
    let locked = runtime.block_on(event(&mut events, "lock")).0;
    assert_eq!(locked, format!("conference.event.lock.{ACCOUNT_ID}.{id}.{id}"));
    command(json!({"Application-Name": "unlock"}));
    runtime.block_on(event(&mut events, "unlock"));

    // A dial rings, and keeps no other command waiting.
    let callee = Callee::new().expect("a phone");
    let dial = json!({
        "Application-Name": "dial", "Endpoints": [callee.uri("eve")], "Timeout": 60, "Caller-ID-Name": "The Desk",
        "Caller-ID-Number": "5551212", "Participant-Flags": ["mute"], "Outbound-Call-ID": "by-broker",
        "Custom-Application-Vars": {"My-Key": "Some Value"}
    });
    command(json!({"Application-Name": "dial", "Endpoints": []}));
    let mut strange = dial.clone();
    strange["Account-ID"] = json!("0123456789abcdef0123456789abcdef");
    command(strange);
    command(dial);
    let ringing = callee.wait_call(WAIT).expect("called");
    let from = ringing.invite.header("From").expect("a From");
    assert!(from.contains("The Desk") && from.contains("5551212"), "{from}");
    ringing.respond(180, "Ringing").expect("sent");
    command(json!({"Application-Name": "lock"}));
    runtime.block_on(event(&mut events, "lock"));
    command(json!({"Application-Name": "unlock"}));
    runtime.block_on(event(&mut events, "unlock"));
    let eve = ringing.join(&engine, Source::silence(Law::Mu)).expect("an ACK");
    let joined = runtime.block_on(event(&mut events, "add-member")).2;
    for (key, value) in [
        ("Call-ID", json!("by-broker")),
        ("Speak", json!(false)),
        ("Custom-Application-Vars", json!({"My-Key": "Some Value"})),
    ] {
        assert_eq!(joined[key], value, "{key}: {joined}");
    }
    assert_eq!(callee.calls(), 1, "nobody dials for an account that there is not");
    ringing.hang_up().expect("ended");
    drop(eve);
    runtime.block_on(event(&mut events, "del-member"));

    // Registrations have keys of their own.
    let mut registrations = runtime.block_on(async {
        let queue = queue_for(&channel, "registration.#").await;
        consume(&channel, queue).await
    });
    let realm = "phones.example";
    let device = json!({"data": {"name": "Desk", "sip": {"username": "desk", "password": "open-sesame"}}});
    let api = server.api().expect("a login");
    let made = api
        .account("PUT", "/devices", Some(&device))
        .expect("answered")
        .json();
    let device = made["data"]["id"].as_str().expect("an id").to_owned();
    let mut desk = Device::new(server.sip, realm, "desk", "open-sesame").expect("a socket");
    let contact = desk.contact().expect("an address");
    for (expires_s, name) in [(120, "device-registered"), (0, "device-unregistered")] {
        let answer = desk.register(&contact, expires_s).expect("answered");
        assert_eq!(answer.status(), Some(200));
        let (key, body) = runtime.block_on(next(&mut registrations));
        assert_eq!(key, format!("registration.{name}.{ACCOUNT_ID}.{device}"));
        for (key, value) in [
            ("Event-Category", json!("registration")),
            ("Event", json!(name)),
            ("Device-ID", json!(device)),
            ("Username", json!("desk")),
        ] {
            assert_eq!(body[key], value, "{key}: {body}");
        }
        assert!(body["Msg-ID"].is_string(), "{body}");
    }

    // The broker goes and comes: conferences do not notice, and what happened meanwhile is told.
    drop(broker);
    let gone = server.wait_metrics(WAIT, |metrics| {
        metrics.sum("confab_amqp_connections") == Some(0.0)
    });
    gone.expect("noticed");
    room.act_on(participant, "raise_hand")
        .expect("answered without a broker");
    // This time there is a queue before anybody can connect.
    let definitions = json!({
        "exchanges": [{"name": "conference", "vhost": "/", "type": "topic", "durable": true, "auto_delete": false, "arguments": {}}],
        "queues": [{"name": "seen", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}],
        "bindings": [{
            "source": "conference", "vhost": "/", "destination": "seen", "destination_type": "queue",
            "routing_key": "conference.event.raise-hand-member.#", "arguments": {}
        }],
    });
    fs::write(folder.path().join("definitions.json"), definitions.to_string()).expect("written");
    let broker = Broker::start(address, folder.path());
    let (key, body) = runtime.block_on(async {
        let (_connection, channel) = connect(&url).await;
        let mut again = consume(&channel, "seen".into()).await;
        next(&mut again).await
    });
    assert!(key.starts_with("conference.event.raise-hand-member."), "{key}");
    assert_eq!(
        (body["Hand-Raised"].as_bool(), body["Participant-ID"].as_u64()),
        (Some(true), Some(participant))
    );
    // A consumer may have an event before the broker has confirmed it.
    let confirmed = server.wait_metrics(WAIT, |metrics| {
        metrics.labelled("confab_amqp_events_total", "outcome", "published") >= 7.0
    });
    let metrics = confirmed.expect("confirmed");
    let counted = |name: &str, outcome: &str| metrics.labelled(name, "outcome", outcome);
    assert_eq!(counted("confab_amqp_events_total", "dropped"), 0.0);
    assert_eq!(counted("confab_amqp_commands_total", "taken"), 6.0);
    assert_eq!(counted("confab_amqp_commands_total", "refused"), 3.0);
    assert!(metrics.sum("confab_amqp_connections_failed_total") >= Some(2.0));
    first.leave().expect("left");
    second.leave().expect("left");
    drop(broker);
}

#[test]
fn a_broker_is_reached_over_tls_when_its_certificate_is_good() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = TempDir::new("rabbitmq-tls").expect("a directory");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = folder.path().join("tls.pem");
    fs::write(&certificate, certified.cert.pem()).expect("written");
    fs::write(
        folder.path().join("tls.key"),
        certified.signing_key.serialize_pem(),
    )
    .expect("written");
    let (address, tls) = (free_address().expect("a port"), free_address().expect("a port"));
    fs::write(folder.path().join("tls_port"), tls.port().to_string()).expect("written");
    let broker = Broker::start(address, folder.path());
    let url = format!("\"amqps://guest:guest@localhost:{}/%2f\"", tls.port());

    let _context = runtime.enter();
    let (_connection, mut events) = runtime.block_on(async {
        let (connection, channel) = connect(&broker.url()).await;
        let queue = queue_for_events(&channel).await;
        (connection, consume(&channel, queue).await)
    });
    let start = |trusted: &Path| {
        ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .env("SSL_CERT_FILE", &trusted.display().to_string())
            .set("amqp.url", &url)
            .start()
            .expect("started")
    };
    let trusting = start(&certificate);
    let connected = trusting.wait_metrics(WAIT, |metrics| {
        metrics.sum("confab_amqp_connections") == Some(1.0)
    });
    connected.expect("connected");
    let phone = Phone::udp(trusting.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let caller = Participant::join_as(&phone, &engine, "3000", None, "ann", "ann").expect("joined");
    let (_, _, told) = runtime.block_on(event(&mut events, "add-member"));
    assert_eq!(told["Caller-ID-Number"], "ann");
    caller.leave().expect("left");

    // Who trusts somebody else does not hand over his events, nor his password.
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = folder.path().join("other.pem");
    fs::write(&other, stranger.cert.pem()).expect("written");
    let doubting = start(&other);
    let deadline = Instant::now() + WAIT;
    while !doubting.log().contains("no connection to the message broker") {
        assert!(Instant::now() < deadline, "nothing is told: {}", doubting.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(doubting.log().contains("certificate"), "{}", doubting.log());
    let metrics = doubting.metrics().expect("metrics");
    assert_eq!(metrics.sum("confab_amqp_connections"), Some(0.0));
}
