//! What a device's document says about calls to it: where it is, who it is, and what it wants in the INVITE.
//!
//! Reads documents; asks nobody.

use std::{collections::BTreeMap, time::Duration};

use confab_documents::{Body, Document};
use confab_sip::{DigestIdentity, HeaderName, SipUri};
use serde_json::Value;

use super::{
    callee::{Callee, Contact, Forwarder, Place, Security},
    number,
    parts::{custom_headers, is_header_value, outbound_flags, proxy, route, target, text},
    shown::Privacy,
    words,
};

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
    /// Whoever calls is shown as calling, not the device.
    pub(super) keeps_caller: bool,
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
                keeps_caller: flag("keep_caller_id", true),
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
            outside: None,
            forwarder: None,
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
            realm: None,
        })
    }

    /// Who is shown as calling where it forwards its calls under its own name.
    pub(super) fn forwarder(&self) -> Forwarder {
        let own = |path: &[&str]| {
            let found = self.text(path).or_else(|| self.of_owner(path));
            found.map(str::to_owned)
        };
        let known = |kind: &str| {
            (
                own(&["caller_id", kind, "name"]),
                own(&["caller_id", kind, "number"]),
            )
        };
        let of_owner = || Privacy::of(&self.owner?.body);
        Forwarder {
            internal: known("internal"),
            external: known("external"),
            emergency: known("emergency"),
            privacy: Privacy::of(&self.document.body).or_else(of_owner),
        }
    }

    /// The tags that trunks have to have which take what it forwards.
    pub(super) fn outbound_flags(&self) -> Vec<String> {
        let of_owner = self.owner.map(|owner| outbound_flags(&owner.body));
        let own = outbound_flags(&self.document.body);
        own.into_iter().chain(of_owner.unwrap_or_default()).collect()
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
        let sip = self.document.body.get("sip");
        all.extend(custom_headers(sip.and_then(|sip| sip.get("custom_sip_headers"))));
        all
    }

    fn text(&self, path: &[&str]) -> Option<&str> {
        text(&self.document.body, path)
    }

    fn of_owner(&self, path: &[&str]) -> Option<&str> {
        text(&self.owner?.body, path)
    }
}

#[cfg(test)]
mod tests;
