use std::time::{Duration, Instant};

use confab_conference::AccountId;
use confab_documents::{Body, BootstrapConfig, Change, Expected, Kind, Store};
use confab_sip::{DigestAlgorithm, Flow, Message, PasswordLimits, RegisterRequest, RegistrarConfig, Request};
use serde_json::json;

use super::devices::{Device, DeviceKey, Devices};
use super::gate::{Gate, Shown};
use super::resting::Resting;
use super::*;
use crate::signalling::LocalAddresses;

const REALM: &str = "phones.example";

struct World {
    _folder: tempfile::TempDir,
    store: Store,
    account: AccountId,
    devices: Devices,
    gate: Gate,
}

fn body(value: serde_json::Value) -> Body {
    value.as_object().expect("an object").clone()
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), "").await.expect("a store");
        let config = BootstrapConfig {
            realm: REALM.to_owned(),
            ..BootstrapConfig::default()
        };
        let first = store.bootstrap(config).await.expect("answers").expect("new");
        let local = Arc::new(LocalAddresses::new(None, None));
        World {
            devices: Devices::new(store.clone(), local),
            gate: Gate::new(PasswordLimits::default(), vec![DigestAlgorithm::Md5]),
            account: first.account_id,
            store,
            _folder: folder,
        }
    }

    async fn device(&self, user: &str) -> Device {
        let data = json!({"name": user, "sip": {"username": user, "password": "secret"}});
        let made = self
            .store
            .create(&self.account, Kind::Device, body(data))
            .await
            .expect("made");
        let key = DeviceKey::new(&self.account, &made.id);
        self.devices.by_id(&key).await.expect("answers").expect("there")
    }
}

fn register(flow: Flow, cseq: u32, headers: &str) -> (Request, RegisterRequest) {
    let text = format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKa\r\nFrom: <sip:desk@{REALM}>;tag=f\r\n\
         To: <sip:desk@{REALM}>\r\nCall-ID: \"c\"@x\r\nCSeq: {cseq} REGISTER\r\n{headers}\r\n"
    );
    let Ok(Message::Request(request)) = Message::parse(text.clone().into()) else {
        panic!("{text}")
    };
    let wanted = RegisterRequest::read(&request, flow).expect("reads");
    (request, wanted)
}

fn udp() -> Flow {
    let address = |text: &str| text.parse().expect("an address");
    Flow::udp(address("192.0.2.1:5060"), address("203.0.113.9:40000"))
}

#[tokio::test]
async fn a_binding_comes_back_from_the_store_as_it_was() {
    let world = World::new().await;
    let device = world.device("desk").await;
    let bindings = Bindings::new(RegistrarConfig::default());
    let headers = "Path: <sip:p@192.0.2.20;lr>\r\nUser-Agent: \"phone\"\r\n\
                   Contact: <sip:desk@10.0.0.5:5062;x=%20>;q=0.4;+sip.instance=\"<urn:uuid:1>\";reg-id=2\r\n\
                   Contact: <sip:desk@10.0.0.6;ob>\r\n";
    let (_, wanted) = register(udp(), 7, headers);
    bindings.change(|core| core.register(Instant::now(), &device.key, &wanted, 300));
    let resting = Resting::new(world.store.clone());
    resting.write(&bindings, false).await;
    let mut read = resting.read().await.expect("answers");
    assert_eq!(read.len(), 2);
    let state = bindings.state();
    for (key, binding) in &mut read {
        let known = state.core.binding(key, binding.id).expect("known");
        let late = binding.expires_at.max(known.expires_at) - binding.expires_at.min(known.expires_at);
        assert!(late <= Duration::from_secs(2), "{late:?}");
        assert_eq!(binding.contact, known.contact);
        assert_eq!((&binding.path, binding.flow), (&known.path, known.flow));
        assert_eq!(
            (binding.q, binding.is_direct, binding.is_ob),
            (known.q, known.is_direct, known.is_ob)
        );
        assert_eq!(
            (&binding.instance, binding.reg_id),
            (&known.instance, known.reg_id)
        );
        assert_eq!(
            (binding.call_id.clone(), binding.cseq),
            (known.call_id.clone(), 7)
        );
        assert_eq!(binding.user_agent.as_deref(), Some("\"phone\""));
    }
}

#[tokio::test]
async fn what_is_only_refreshed_is_written_late_and_what_is_gone_soon() {
    let world = World::new().await;
    let device = world.device("desk").await;
    let bindings = Bindings::new(RegistrarConfig::default());
    let resting = Resting::new(world.store.clone());
    let expires = async || {
        let rows = world.store.registrations().await.expect("answers");
        rows.first().map(|row| row.expires.0)
    };
    let bind = |cseq, seconds: u32| {
        let (_, wanted) = register(
            udp(),
            cseq,
            &format!("Contact: <sip:a@10.0.0.5>;expires={seconds}\r\n"),
        );
        bindings.change(|core| core.register(Instant::now(), &device.key, &wanted, 300))
    };
    bind(1, 100);
    resting.write(&bindings, false).await;
    let first = expires().await.expect("written at once");
    bind(2, 1000);
    resting.write(&bindings, false).await;
    assert_eq!(expires().await, Some(first), "the later end waits");
    resting.write(&bindings, true).await;
    let later = expires().await.expect("there");
    assert!(later > first + 500, "{first} {later}");
    bind(3, 0);
    resting.write(&bindings, false).await;
    assert_eq!(expires().await, None);
}

#[tokio::test]
async fn a_store_that_fails_is_told_again() {
    let world = World::new().await;
    let device = world.device("desk").await;
    let bindings = Bindings::new(RegistrarConfig::default());
    let (_, wanted) = register(udp(), 1, "Contact: <sip:a@10.0.0.5>\r\n");
    bindings.change(|core| core.register(Instant::now(), &device.key, &wanted, 300));
    let gone = World::new().await;
    gone.store.close().await;
    Resting::new(gone.store.clone()).write(&bindings, true).await;
    Resting::new(world.store.clone()).write(&bindings, false).await;
    assert_eq!(world.store.registrations().await.expect("answers").len(), 1);
}

#[tokio::test]
async fn devices_are_remembered_until_a_change_concerns_them() {
    let world = World::new().await;
    let known = async |user: &str| world.devices.by_username(REALM, user).await.expect("answers");
    assert!(known("desk").await.is_none());
    let device = world.device("desk").await;
    assert!(known("desk").await.is_none(), "that there was none is known");
    let change = |id: &str| Change {
        account: world.account.clone(),
        kind: Kind::Device,
        id: id.to_owned(),
        saves: 1,
    };
    world.devices.forget(&[change("another")]);
    assert!(known("DESK").await.expect("there").enabled);
    let off = body(json!({"enabled": false}));
    let id = device.key.device.as_str();
    let saved = world
        .store
        .patch(&world.account, Kind::Device, id, off, &Expected::Anything)
        .await;
    saved.expect("saved");
    world.devices.forget(&[change("another")]);
    assert!(known("desk").await.expect("there").enabled);
    world.devices.forget(&[change(id)]);
    assert!(!known("desk").await.expect("there").enabled);
}

#[tokio::test]
async fn a_realm_is_an_accounts_a_devices_or_nobodys() {
    let world = World::new().await;
    let realm = async |host: &str| world.devices.realm_of(host).await.expect("answers");
    assert_eq!(realm("Phones.Example").await.as_deref(), Some(REALM));
    assert_eq!(
        realm("localhost").await.as_deref(),
        Some(REALM),
        "its own address is the first account's"
    );
    assert_eq!(realm("other.example").await, None);
}

#[tokio::test]
async fn who_has_no_password_is_nobody() {
    let world = World::new().await;
    let data = json!({"name": "x", "sip": {"username": "bare"}});
    world
        .store
        .create(&world.account, Kind::Device, body(data))
        .await
        .expect("made");
    let data = json!({"name": "y", "sip": {"username": "trunk", "password": "secret", "method": "ip", "ip": "192.0.2.9"}});
    world
        .store
        .create(&world.account, Kind::Device, body(data))
        .await
        .expect("made");
    for (user, password) in [("bare", ""), ("trunk", "secret"), ("nobody", "")] {
        let challenge = world.gate.challenges(REALM, false).remove(0);
        let asked = confab_testkit::agent::SipMessage::request("REGISTER", "sip:x");
        let challenge = asked.with("WWW-Authenticate", challenge);
        let uri = format!("sip:{REALM}");
        let value = confab_testkit::agent::digest::answer(&challenge, "REGISTER", &uri, user, password);
        let header = format!("Authorization: {}\r\n", value.expect("an answer"));
        let (request, _) = register(udp(), 1, &header);
        let source = "192.0.2.7".parse().expect("an address");
        let shown = world
            .gate
            .judge(&world.devices, REALM, &request, source, |_| false)
            .await;
        assert!(matches!(shown, Ok(Shown::Wrong)), "{user}");
    }
}

#[tokio::test]
async fn credentials_for_another_address_are_nobodys_whatever_the_password() {
    let world = World::new().await;
    let data = json!({"name": "x", "sip": {"username": "ann", "password": "secret"}});
    world
        .store
        .create(&world.account, Kind::Device, body(data))
        .await
        .expect("made");
    let rows = [
        (format!("sip:{REALM}"), true),
        // By any of this server's names.
        ("sip:localhost:5060".to_owned(), true),
        ("sip:registrar.example".to_owned(), false),
        ("sip:".to_owned(), false),
    ];
    for (uri, is_taken) in rows {
        let challenge = world.gate.challenges(REALM, false).remove(0);
        let asked = confab_testkit::agent::SipMessage::request("REGISTER", "sip:x");
        let challenge = asked.with("WWW-Authenticate", challenge);
        let value = confab_testkit::agent::digest::answer(&challenge, "REGISTER", &uri, "ann", "secret");
        let header = format!("Authorization: {}\r\n", value.expect("an answer"));
        let (request, _) = register(udp(), 1, &header);
        let source = "192.0.2.7".parse().expect("an address");
        let shown = world
            .gate
            .judge(&world.devices, REALM, &request, source, |_| false)
            .await;
        match shown.expect("the store answers") {
            Shown::Device(_) => assert!(is_taken, "{uri}"),
            Shown::Elsewhere => assert!(!is_taken, "{uri}"),
            _ => panic!("{uri}"),
        }
    }
}
