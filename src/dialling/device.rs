//! What a device's document says about calls to it: where it is, who it is, and what it wants in the INVITE.
//!
//! Reads documents; asks nobody.

use std::{collections::BTreeMap, time::Duration};

use confab_documents::{Body, Document};
use confab_sip::{DigestIdentity, HeaderName, NameAddr, Reachable, SipUri};
use serde_json::Value;

use super::{number, words};
use crate::signalling::OutgoingDestination;

/// Header fields that a document cannot set: they are the call's own.
const OWN_HEADERS: [&[u8]; 22] = [
    b"via",
    b"from",
    b"to",
    b"call-id",
    b"cseq",
    b"contact",
    b"max-forwards",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"route",
    b"record-route",
    b"allow",
    b"supported",
    b"require",
    b"proxy-require",
    b"user-agent",
    b"authorization",
    b"proxy-authorization",
    b"privacy",
    b"p-asserted-identity",
    b"alert-info",
];
/// Header fields of its own that a device may have in an INVITE.
const MOST_HEADERS: usize = 32;

/// Where a device has registered from.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    /// As it was registered.
    pub(crate) uri: SipUri,
    /// What is on the way there, the nearest first (RFC 3327), as values of Route.
    pub(crate) path: Vec<NameAddr>,
    /// The way that it came, where that is the one to take.
    pub(crate) flow: Option<confab_sip::Flow>,
}

impl Contact {
    /// Takes what the registrar knows; `None` for a contact that is no SIP URI.
    pub(super) fn of(reachable: Reachable) -> Option<Contact> {
        Some(Contact {
            uri: reachable.target.as_sip()?.clone(),
            path: reachable.route,
            flow: Some(reachable.flow),
        })
    }
}

/// Somebody who can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Callee {
    /// Where he may be, all of which ring; at least one.
    pub(super) at: Vec<Place>,
    /// His name and number, as participants are shown.
    pub(super) name: String,
    pub(super) number: String,
    /// What is known of him, as participants show it.
    pub(super) channel_vars: BTreeMap<String, String>,
    /// Names of codecs, the best first; empty: all there are.
    pub(super) codecs: Vec<String>,
    /// Whether media are encrypted.
    pub(super) security: Security,
    /// Who we are when he asks.
    pub(super) identity: Option<DigestIdentity>,
    /// Further header fields.
    pub(super) headers: Vec<(HeaderName, String)>,
    /// How long it may take until he rings.
    pub(super) progress_within: Option<Duration>,
    /// Whoever answers has to press 1.
    pub(super) confirms: bool,
}

/// Whether a device wants its media encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// As the server does it.
    Open,
    /// It is offered.
    Offered,
    /// Or there is no call.
    Required,
}

/// One place where somebody may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) destination: OutgoingDestination,
    /// Values of Route.
    pub(super) route: Vec<NameAddr>,
    /// Whoever dials has chosen it: the patterns of `[outbound]` are asked.
    pub(super) is_judged: bool,
}

impl Place {
    /// Where a URI leads.
    pub(super) fn at(target: SipUri) -> Place {
        Place {
            destination: OutgoingDestination {
                target,
                by: None,
                flow: None,
                is_internal: false,
            },
            route: Vec::new(),
            is_judged: true,
        }
    }

    /// A number of the account's own.
    pub(super) fn within(target: SipUri) -> Place {
        let mut place = Place::at(target);
        place.destination.is_internal = true;
        place.is_judged = false;
        place
    }
}

/// Where the calls of somebody go instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forward {
    /// The number.
    pub(super) number: String,
    /// He himself does not ring.
    pub(super) substitutes: bool,
    /// Whoever answers has to press 1.
    pub(super) confirms: bool,
    /// Only where he is not registered.
    pub(super) only_failover: bool,
}

/// One device, with the user whom it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Device<'a> {
    pub(super) document: &'a Document,
    pub(super) owner: Option<&'a Document>,
}

impl Device<'_> {
    /// Whether calls are let through to it.
    pub(super) fn is_callable(&self) -> bool {
        let is_enabled = self.document.body.get("enabled") != Some(&Value::Bool(false));
        is_enabled && !self.has_do_not_disturb()
    }

    fn has_do_not_disturb(&self) -> bool {
        let of = |body: &Body| body.get("do_not_disturb")?.get("enabled")?.as_bool();
        of(&self.document.body)
            .or_else(|| of(&self.owner?.body))
            .unwrap_or(false)
    }

    /// Where its calls go instead; `is_direct`: it was dialled itself, not as one of a user's.
    pub(super) fn forward(&self, is_direct: bool) -> Option<Forward> {
        let of = |body: &Body| {
            let forward = body.get("call_forward")?;
            let flag = |key: &str, default| forward.get(key).and_then(Value::as_bool).unwrap_or(default);
            let number = forward.get("number")?.as_str()?.trim();
            let is_on = flag("enabled", false);
            if number.is_empty() || !(is_on || flag("failover", false)) {
                return None;
            }
            if flag("direct_calls_only", false) && !is_direct {
                return None;
            }
            Some(Forward {
                number: number.to_owned(),
                substitutes: flag("substitute", true),
                confirms: flag("require_keypress", true),
                only_failover: !is_on,
            })
        };
        of(&self.document.body).or_else(|| of(&self.owner?.body))
    }

    /// Returns it as somebody who can be called. `dialled` is the number that led to it, `contacts` where it has registered.
    ///
    /// # Errors
    /// Why it cannot be, in the contract's words.
    pub(super) fn callee(
        &self,
        realm: &str,
        dialled: Option<&str>,
        contacts: &[Contact],
    ) -> Result<Callee, &'static str> {
        let media = self.document.body.get("media");
        let encryption = media.and_then(|media| media.get("encryption"));
        let security = encryption.map_or(Security::Open, |encryption| {
            let methods = encryption.get("methods").and_then(Value::as_array);
            let mut methods = methods.into_iter().flatten();
            if encryption.get("enforce_security") == Some(&Value::Bool(true)) {
                Security::Required
            } else if methods.any(|method| method == "srtp") {
                Security::Offered
            } else {
                Security::Open
            }
        });
        let at = self.places(dialled, contacts)?;
        let number = self.number().unwrap_or_default();
        let name = self.text(&["caller_id", "internal", "name"]);
        let name = name
            .or_else(|| self.of_owner(&["caller_id", "internal", "name"]))
            .or_else(|| self.text(&["name"]))
            .unwrap_or(&number);
        let codecs = media.and_then(|media| media.get("audio")?.get("codecs")?.as_array());
        Ok(Callee {
            at,
            name: name.to_owned(),
            channel_vars: self.channel_vars(realm),
            codecs: codecs
                .into_iter()
                .flatten()
                .filter_map(|codec| codec.as_str().map(str::to_owned))
                .collect(),
            security,
            identity: self.identity(),
            headers: self.headers(),
            progress_within: media
                .and_then(|media| media.get("progress_timeout")?.as_u64())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            confirms: false,
            number,
        })
    }

    /// The device's own credentials: where it is a server, they are what we have there.
    fn identity(&self) -> Option<DigestIdentity> {
        Some(DigestIdentity {
            username: self.text(&["sip", "username"])?.to_owned(),
            password: self.text(&["sip", "password"])?.to_owned(),
        })
    }

    /// The number under which it is known.
    fn number(&self) -> Option<String> {
        let number = self.text(&["caller_id", "internal", "number"]);
        number
            .or_else(|| self.of_owner(&["caller_id", "internal", "number"]))
            .or_else(|| self.text(&["sip", "number"]))
            .or_else(|| self.text(&["sip", "username"]))
            .map(str::to_owned)
    }

    /// Whether this is the extension of the device.
    pub(super) fn has_extension(&self, number: &str) -> bool {
        let places: [&[&str]; 3] = [
            &["sip", "username"],
            &["caller_id", "internal", "number"],
            &["presence_id"],
        ];
        places.iter().any(|path| self.text(path) == Some(number))
    }

    fn channel_vars(&self, realm: &str) -> BTreeMap<String, String> {
        let own_realm = self.text(&["sip", "realm"]).unwrap_or(realm);
        let owner = self.owner.map(|owner| owner.id.as_str());
        let known = [
            ("authorizing_id", Some(self.document.id.as_str())),
            ("authorizing_type", Some("device")),
            ("owner_id", owner.or_else(|| self.text(&["owner_id"]))),
            ("username", self.text(&["sip", "username"])),
            ("realm", Some(own_realm)),
            ("presence_id", self.text(&["presence_id"])),
        ];
        known
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
            .collect()
    }

    fn places(&self, dialled: Option<&str>, contacts: &[Contact]) -> Result<Vec<Place>, &'static str> {
        let format = self.text(&["sip", "invite_format"]).unwrap_or("contact");
        let proxy = match self.text(&["sip", "proxy"]) {
            Some(text) => Some(proxy(text).ok_or(words::INCOMPATIBLE)?),
            None => None,
        };
        let pre_loaded = match self.text(&["sip", "forward"]) {
            Some(text) => vec![route(text).ok_or(words::INCOMPATIBLE)?],
            None => Vec::new(),
        };
        let place = |target: SipUri, contact: Option<&Contact>| {
            let mut place = Place::at(self.over_transport(target));
            place.destination.by = proxy.clone();
            place.route.clone_from(&pre_loaded);
            place.is_judged = contact.is_none();
            if let Some(contact) = contact {
                place.route.extend(contact.path.iter().cloned());
                place.destination.flow = contact.flow.filter(|_| proxy.is_none() && pre_loaded.is_empty());
            }
            if place.destination.by.is_none() {
                // RFC 3261 §8.1.2: what is first on the way is sent to.
                place.destination.by = place.route.first().and_then(|first| first.uri.as_sip().cloned());
            }
            place
        };
        if format == "route" {
            let target = self.text(&["sip", "route"]).and_then(target);
            return Ok(vec![place(target.ok_or(words::INCOMPATIBLE)?, None)]);
        }
        if self.text(&["sip", "method"]) == Some("ip") {
            let ip = self.text(&["sip", "ip"]).ok_or(words::INCOMPATIBLE)?;
            let ip = ip.parse::<std::net::IpAddr>().map_err(|_| words::INCOMPATIBLE)?;
            let target = SipUri::new(confab_sip::Host::from(ip), None);
            let target = match self.user(format, dialled) {
                Some(user) => target.with_user(&user),
                None => target,
            };
            return Ok(vec![place(target, None)]);
        }
        if contacts.is_empty() {
            return Err(words::NOT_REGISTERED);
        }
        let registered = contacts.iter().map(|contact| {
            let uri = contact.uri.clone();
            let uri = match self.user(format, dialled).filter(|_| format != "contact") {
                Some(user) => uri.with_user(&user),
                None => uri,
            };
            place(uri, Some(contact))
        });
        Ok(registered.collect())
    }

    /// The user part of the request URI, in the form that the device wants.
    fn user(&self, format: &str, dialled: Option<&str>) -> Option<String> {
        let fixed = self.text(&["sip", "static_invite"]);
        let username = fixed.or_else(|| self.text(&["sip", "username"]));
        let wanted = self.text(&["sip", "number"]).or(dialled);
        match format {
            "e164" | "npan" | "1npan" | "strip_plus" => {
                wanted.map(|wanted| number::in_format(wanted, format))
            }
            _ => username.or(wanted).map(str::to_owned),
        }
        .filter(|user| !user.is_empty())
    }

    fn over_transport(&self, uri: SipUri) -> SipUri {
        match self.text(&["sip", "transport"]) {
            Some(transport) if uri.transport().is_none() => {
                uri.with_param("transport", Some(&transport.to_ascii_lowercase()))
            }
            _ => uri,
        }
    }

    fn headers(&self) -> Vec<(HeaderName, String)> {
        let mut all = Vec::new();
        if let Some(ringtone) = self
            .text(&["ringtones", "internal"])
            .or_else(|| self.of_owner(&["ringtones", "internal"]))
            && is_header_value(ringtone)
        {
            all.push((HeaderName::AlertInfo, ringtone.to_owned()));
        }
        let custom = self
            .document
            .body
            .get("sip")
            .and_then(|sip| sip.get("custom_sip_headers"));
        let outward = custom.and_then(|custom| custom.get("out"));
        // The older form has no directions.
        let custom = outward.or(custom).and_then(Value::as_object);
        for (name, value) in custom.into_iter().flatten().take(MOST_HEADERS) {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => continue,
            };
            if is_custom_header(name) && is_header_value(&value) {
                all.push((HeaderName::from_token(name.as_str().into()), value));
            }
        }
        all
    }

    fn text(&self, path: &[&str]) -> Option<&str> {
        text(&self.document.body, path)
    }

    fn of_owner(&self, path: &[&str]) -> Option<&str> {
        text(&self.owner?.body, path)
    }
}

/// Returns a text within a document that is not empty.
pub(super) fn text<'a>(body: &'a Body, path: &[&str]) -> Option<&'a str> {
    let (first, rest) = path.split_first()?;
    let start = body.get(*first)?;
    let found = rest.iter().try_fold(start, |value, key| value.get(*key))?;
    found.as_str().filter(|text| !text.is_empty())
}

/// Reads a SIP URI that is to be called. What it says about headers is left out: whoever writes a URI does not write our requests.
pub(super) fn target(text: &str) -> Option<SipUri> {
    let mut uri = SipUri::parse(text.trim().to_owned()).ok()?;
    uri.headers = confab_sip::Params::new();
    uri.params.remove("method");
    Some(uri)
}

/// Reads a proxy: a URI, or a host with or without a port.
fn proxy(text: &str) -> Option<SipUri> {
    let text = text.trim();
    if text.to_ascii_lowercase().starts_with("sip") && text.contains(':') {
        return target(text);
    }
    target(&format!("sip:{text}"))
}

/// Reads a value of Route, a loose one (RFC 3261 §16.12).
fn route(text: &str) -> Option<NameAddr> {
    let uri = match NameAddr::parse(text.trim().to_owned()) {
        Ok(address) => address.uri.as_sip()?.clone(),
        Err(_) => proxy(text)?,
    };
    Some(NameAddr::new(uri.with_param("lr", None)))
}

fn is_custom_header(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!%*+`'~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let compact = name.len() == 1;
    !name.is_empty()
        && name.len() <= 64
        && !compact
        && name.bytes().all(is_token)
        && !OWN_HEADERS.contains(&lower.as_bytes())
}

fn is_header_value(value: &str) -> bool {
    value.len() <= 512 && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
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
        };
        assert_eq!(
            check(json!({"call_forward": {"enabled": true, "number": "1002"}})).1,
            Some(forward.clone())
        );
        let direct = json!({"call_forward": {"enabled": true, "number": "1002", "direct_calls_only": true}});
        assert_eq!(check(direct), (true, Some(forward.clone()), None));
        let failover =
            json!({"call_forward": {"failover": true, "number": "1002", "require_keypress": false}});
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
}
