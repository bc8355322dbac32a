use confab_conference::AccountId;
use confab_documents::Kind;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn document(body: Value) -> Document {
    let mut body = body;
    body["name"] = "Desk".into();
    let body = body.as_object().unwrap().clone();
    Document::unsaved(&AccountId::from("a"), Kind::Device, "d1", body).unwrap()
}

fn contacts(all: &[&str]) -> Vec<Contact> {
    let contact = |text: &&str| Contact {
        uri: SipUri::parse((*text).to_owned()).unwrap(),
        path: Vec::new(),
        flow: None,
    };
    all.iter().map(contact).collect()
}

fn callee(body: Value, registered: &[&str], dialled: Option<&str>) -> Result<Callee, &'static str> {
    let document = document(body);
    let device = Device {
        document: &document,
        owner: None,
    };
    device.callee("a.example", dialled, &contacts(registered))
}

fn targets(callee: &Callee) -> Vec<String> {
    callee
        .at
        .iter()
        .map(|place| place.destination.target.to_string())
        .collect()
}

#[test]
fn a_device_is_where_its_format_its_address_or_its_registration_says() {
    let two = ["sip:x@192.0.2.7:5070;transport=tcp", "sip:y@192.0.2.8"];
    for (sip, registered, dialled, expected) in [
        (
            json!({"invite_format": "route", "route": "sip:bob@pbx.example:5080"}),
            &[][..],
            None,
            &["sip:bob@pbx.example:5080"][..],
        ),
        (
            json!({"invite_format": "route", "route": "sip:bob@pbx.example", "transport": "tcp"}),
            &[],
            None,
            &["sip:bob@pbx.example;transport=tcp"],
        ),
        (
            json!({"invite_format": "route", "route": "sip:bob@pbx.example?X=1"}),
            &[],
            None,
            &["sip:bob@pbx.example"],
        ),
        (
            json!({"method": "ip", "ip": "192.0.2.9"}),
            &two[..],
            None,
            &["sip:192.0.2.9"],
        ),
        (
            json!({"method": "ip", "ip": "192.0.2.9", "username": "desk"}),
            &[],
            None,
            &["sip:desk@192.0.2.9"],
        ),
        (
            json!({"method": "ip", "ip": "192.0.2.9", "invite_format": "e164", "number": "4158867900"}),
            &[],
            None,
            &["sip:+14158867900@192.0.2.9"],
        ),
        (
            json!({"method": "ip", "ip": "192.0.2.9", "invite_format": "npan"}),
            &[],
            Some("+14158867900"),
            &["sip:4158867900@192.0.2.9"],
        ),
        (
            json!({"method": "ip", "ip": "192.0.2.9", "username": "desk", "static_invite": "ext"}),
            &[],
            None,
            &["sip:ext@192.0.2.9"],
        ),
        (json!({"username": "desk"}), &two, None, &two),
        (
            json!({"username": "desk", "invite_format": "username"}),
            &two[1..],
            None,
            &["sip:desk@192.0.2.8"],
        ),
    ] {
        let callee = callee(json!({"sip": sip}), registered, dialled);
        let callee = callee.unwrap_or_else(|why| panic!("{sip}: {why}"));
        assert_eq!(targets(&callee), expected, "{sip}");
        let is_registered = registered.len() == callee.at.len() && !registered.is_empty();
        let by_patterns = !is_registered || sip["method"] == "ip";
        assert!(
            callee.at.iter().all(|place| place.is_judged == by_patterns),
            "{sip}"
        );
    }
    assert_eq!(
        callee(json!({"sip": {"username": "desk"}}), &[], None).err(),
        Some("USER_NOT_REGISTERED")
    );
    for (encryption, security) in [
        (json!({"enforce_security": true}), Security::Required),
        (json!({"methods": ["zrtp", "srtp"]}), Security::Offered),
        (json!({"methods": ["zrtp"]}), Security::Open),
        (json!({}), Security::Open),
    ] {
        let callee = callee(json!({"media": {"encryption": encryption}}), &two, None);
        assert_eq!(callee.unwrap().security, security);
    }
}

#[test]
fn proxies_and_routes_are_sent_to_first() {
    let sip = json!({"invite_format": "route", "route": "sip:bob@pbx.example"});
    let with = |key: &str, value: &str| {
        let mut sip = sip.clone();
        sip[key] = value.into();
        callee(json!({ "sip": sip }), &[], None).unwrap().at.remove(0)
    };
    let by_proxy = with("proxy", "192.0.2.20:5080");
    assert_eq!(
        by_proxy.destination.by.unwrap().to_string(),
        "sip:192.0.2.20:5080"
    );
    assert!(by_proxy.route.is_empty());
    let routed = with("forward", "sip:edge.example");
    assert_eq!(routed.destination.by.unwrap().to_string(), "sip:edge.example;lr");
    assert_eq!(&routed.route[0].to_bytes()[..], b"<sip:edge.example;lr>");
}

#[test]
fn headers_of_its_own_never_replace_ours() {
    let body = json!({
        "sip": {"invite_format": "route", "route": "sip:b@c.example", "custom_sip_headers": {"out": {
            "X-Door": "front", "From": "<sip:boss@c.example>", "Route": "<sip:evil>", "v": "x", "X-List": ["a"], "X-Count": 5
        }}},
        "ringtones": {"internal": "<http://localhost>;info=alert-internal"}
    });
    let callee = callee(body, &[], None).unwrap();
    let headers: Vec<(String, String)> = callee
        .headers
        .iter()
        .map(|(name, value)| {
            (
                String::from_utf8_lossy(name.as_bytes()).into_owned(),
                value.clone(),
            )
        })
        .collect();
    let expected = [
        ("Alert-Info", "<http://localhost>;info=alert-internal"),
        ("X-Door", "front"),
        ("X-Count", "5"),
    ];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn what_is_switched_off_is_not_called_and_forwards_have_their_defaults() {
    let check = |body: Value| {
        let document = document(body);
        let device = Device {
            document: &document,
            owner: None,
        };
        (device.is_callable(), device.forward(true), device.forward(false))
    };
    assert_eq!(check(json!({})), (true, None, None));
    assert!(!check(json!({"enabled": false})).0);
    assert!(!check(json!({"do_not_disturb": {"enabled": true}})).0);
    let forward = Forward {
        number: "1002".into(),
        substitutes: true,
        confirms: true,
        only_failover: false,
        keeps_caller: true,
    };
    assert_eq!(
        check(json!({"call_forward": {"enabled": true, "number": "1002"}})).1,
        Some(forward.clone())
    );
    let direct = json!({"call_forward": {"enabled": true, "number": "1002", "direct_calls_only": true}});
    assert_eq!(check(direct), (true, Some(forward.clone()), None));
    let failover = json!({"call_forward": {"failover": true, "number": "1002", "require_keypress": false}});
    let expected = Forward {
        only_failover: true,
        confirms: false,
        ..forward
    };
    assert_eq!(check(failover).1, Some(expected));
    assert_eq!(check(json!({"call_forward": {"enabled": true}})).1, None);
}

proptest! {
    #[test]
    fn no_text_of_a_document_makes_it_panic(
        route in "\\PC{0,40}", proxy in "\\PC{0,20}", format in "contact|username|e164|route|npan",
        user in "\\PC{2,12}", dialled in "\\PC{0,12}"
    ) {
        let mut document = document(json!({}));
        let sip = json!({"route": route, "proxy": proxy, "forward": proxy, "invite_format": format, "username": user});
        document.body.insert("sip".into(), sip);
        let device = Device { document: &document, owner: None };
        let contacts = contacts(&["sip:x@192.0.2.7"]);
        if let Ok(callee) = device.callee("a.example", Some(&dialled), &contacts) {
            for place in callee.at {
                // What is printed can be read: nothing of the text breaks out of its place.
                let printed = place.destination.target.to_bytes();
                prop_assert!(SipUri::parse(printed).is_ok());
            }
        }
    }
}
