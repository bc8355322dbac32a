//! Owns what a write does to a document of any kind before it is stored: private keys dropped, types repaired, defaults
//! filled, every rule checked that the document can break by itself. Never touches the database.

use std::net::IpAddr;

use confab_conference::AccountId;
use regex::RegexBuilder;
use serde_json::{Value, json};

use crate::conference::check_controls;
use crate::document::{Body, MAX_DEPTH, depth_is_bounded, drop_private_keys};
use crate::kind::{CONFERENCES_CONFIGURATION, Kind};
use crate::schema::{Rule, Violation, Violations};

/// The most that a document takes as JSON. A page has fifty of them, which are read while other requests wait.
pub(crate) const MAX_BYTES: usize = 262_144;

/// The memory that a compiled rule of a trunk may take, in bytes.
const MAX_RULE_BYTES: usize = 256 * 1024;

/// Turns what a client sent for the document `id` into what is stored. The password of a user stays in: whoever stores
/// the body takes it out.
///
/// # Errors
/// All broken rules together.
pub(crate) fn prepare(kind: Kind, id: &str, mut body: Body) -> Result<Body, Violations> {
    drop_private_keys(&mut body);
    for key in kind.read_only_keys() {
        body.shift_remove(*key);
    }
    if !depth_is_bounded(&body) {
        let message = format!("The document must not nest deeper than {MAX_DEPTH} levels");
        return Err(Violation::new("data", Rule::Invalid, message)
            .with_target(MAX_DEPTH.into())
            .into());
    }
    let size = serde_json::to_vec(&body).map_or(0, |text| text.len());
    if size > MAX_BYTES {
        let message = format!("The document must not be larger than {MAX_BYTES} bytes");
        return Err(Violation::new("data", Rule::Invalid, message)
            .with_target(MAX_BYTES.into())
            .into());
    }
    let schema = kind.schema(id);
    let mut value = Value::Object(body);
    schema.repair(&mut value);
    schema.fill_defaults(&mut value);
    let mut violations = Violations::default();
    schema.check(&value, &mut violations);
    let Value::Object(body) = value else {
        return Err(violations);
    };
    check(kind, id, &body, &mut violations);
    if violations.is_empty() {
        Ok(body)
    } else {
        Err(violations)
    }
}

/// Checks what no schema says.
fn check(kind: Kind, id: &str, body: &Body, found: &mut Violations) {
    match kind {
        Kind::User if body.contains_key("password") && !body.contains_key("username") => {
            found.push(Violation::required("username"));
        }
        Kind::Account => check_realm(body.get("realm"), "realm", found),
        Kind::Device => {
            check_characters(body.get("sip"), "sip", found);
            check_device(body.get("sip"), found);
        }
        Kind::Resource => {
            check_rules(body, found);
            check_gateways(body, found);
            check_characters(body.get("gateways"), "gateways", found);
        }
        Kind::Webhook => check_uri(body, found),
        Kind::Media => {
            check_prompt(id, body, found);
            check_source(body, found);
        }
        Kind::Conference => check_controls(&["controls"], body, found),
        Kind::Configuration if id == CONFERENCES_CONFIGURATION => {
            check_controls(
                &["controls", "caller-controls", "moderator-controls"],
                body,
                found,
            );
        }
        _ => {}
    }
}

/// Refuses a realm that calls to a server's own address have, or that is no name of a domain with a place in the DNS.
fn check_realm(realm: Option<&Value>, path: &str, found: &mut Violations) {
    let Some(realm) = realm.and_then(Value::as_str) else {
        return;
    };
    let bare = realm.trim_matches(['[', ']', '.']);
    let last = bare.rsplit('.').next().unwrap_or_default();
    let message = if bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok() {
        "The realm must be a name of a domain: addresses belong to the server"
    } else if last.bytes().all(|byte| byte.is_ascii_digit()) {
        "The realm must be a name of a domain, and none ends in a number"
    } else if realm
        .split('.')
        .any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-'))
    {
        "The realm must be a name of a domain: between its dots are letters, digits and, within, hyphens"
    } else {
        return;
    };
    found.push(Violation::new(path, Rule::Invalid, message).with_value(&realm.into()));
}

/// Refuses what a device cannot be reached by.
fn check_device(sip: Option<&Value>, found: &mut Violations) {
    let Some(sip) = sip else { return };
    check_realm(sip.get("realm"), "sip.realm", found);
    let text = |key: &str| {
        sip.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    match text("ip") {
        Some(ip) if ip.parse::<IpAddr>().is_err() => {
            let message = "The text is no IP address";
            found.push(Violation::new("sip.ip", Rule::Invalid, message).with_value(&ip.into()));
        }
        None if text("method") == Some("ip") => found.push(Violation::required("sip.ip")),
        _ => {}
    }
    if text("invite_format") == Some("route") && text("route").is_none() {
        found.push(Violation::required("sip.route"));
    }
}

/// Refuses control characters in what becomes part of a SIP message: a line break would begin another header.
fn check_characters(value: Option<&Value>, path: &str, found: &mut Violations) {
    match value {
        Some(Value::String(text)) if text.chars().any(char::is_control) => {
            let message = "The text must not have control characters";
            found.push(Violation::new(path, Rule::Invalid, message).with_value(&text.as_str().into()));
        }
        Some(Value::Array(items)) => {
            for (place, item) in items.iter().enumerate() {
                check_characters(Some(item), &format!("{path}.{place}"), found);
            }
        }
        Some(Value::Object(keys)) => {
            for (key, value) in keys {
                let path = format!("{path}.{}", key.replace(char::is_control, "?"));
                // Some are names of headers.
                if key.chars().any(char::is_control) {
                    let message = "The name must not have control characters";
                    found.push(
                        Violation::new(path.clone(), Rule::Invalid, message).with_value(&key.as_str().into()),
                    );
                }
                check_characters(Some(value), &path, found);
            }
        }
        _ => {}
    }
}

/// Refuses an address of a webhook that no request can go to.
fn check_uri(body: &Body, found: &mut Violations) {
    let Some(uri) = body.get("uri").and_then(Value::as_str) else {
        return;
    };
    let problem = match url::Url::parse(uri) {
        Ok(parsed) if uri.chars().any(|c| c.is_control() || c == ' ') || !parsed.has_host() => {
            "no address of a host".to_owned()
        }
        Ok(_) => return,
        Err(error) => error.to_string(),
    };
    let message = format!("The text is no URL that can be asked: {problem}");
    found.push(Violation::new("uri", Rule::Invalid, message).with_value(&uri.into()));
}

/// Refuses rules of a trunk that are no regular expressions.
fn check_rules(body: &Body, found: &mut Violations) {
    let rules = body.get("rules").and_then(Value::as_array);
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let Some(text) = rule.as_str() else { continue };
        if let Err(error) = RegexBuilder::new(text).size_limit(MAX_RULE_BYTES).build() {
            let last = error.to_string().lines().last().unwrap_or_default().to_owned();
            let message = format!("The text is no regular expression: {last}");
            found.push(Violation::new(format!("rules.{index}"), Rule::Invalid, message).with_value(rule));
        }
    }
}

/// Refuses gateways that no call can go to.
fn check_gateways(body: &Body, found: &mut Violations) {
    let gateways = body.get("gateways").and_then(Value::as_array);
    for (index, gateway) in gateways.into_iter().flatten().enumerate() {
        let text = |key: &str| gateway.get(key).and_then(Value::as_str);
        // What has control characters is told as such.
        let is_wrong = |server: &&str| !is_server(server) && !server.chars().any(char::is_control);
        if let Some(server) = text("server").filter(is_wrong) {
            let message = "The text must be a name or an address of a host, without anything around it";
            let field = format!("gateways.{index}.server");
            found.push(Violation::new(field, Rule::Invalid, message).with_value(&server.into()));
        }
        let is_sip = |route: &str| {
            let start = route.get(..5).unwrap_or(route).to_ascii_lowercase();
            start.starts_with("sip:") || start.starts_with("sips:")
        };
        if gateway.get("register") == Some(&Value::Bool(true)) {
            for key in ["username", "password"]
                .into_iter()
                .filter(|key| text(key).is_none_or(str::is_empty))
            {
                found.push(Violation::required(format!("gateways.{index}.{key}")));
            }
        }
        let field = || format!("gateways.{index}.route");
        match text("route").filter(|route| !route.is_empty()) {
            Some(route) if !is_sip(route) => {
                let message = "The text must be a SIP URI";
                found.push(Violation::new(field(), Rule::Invalid, message).with_value(&route.into()));
            }
            None if text("invite_format") == Some("route") => found.push(Violation::required(field())),
            _ => {}
        }
    }
}

/// Whether a text names a host: an address, a bracketed one too, or labels with dots between them, the last one perhaps with a port.
fn is_server(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bare.unwrap_or(text).parse::<IpAddr>().is_ok() {
        return true;
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "5060"));
    let is_label = |label: &str| {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(is_fine)
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    port.parse::<u16>().is_ok_and(|port| port > 0) && host.split('.').all(is_label)
}

/// Refuses speech that would have to be made of a text.
fn check_source(body: &Body, found: &mut Violations) {
    if let Some(source) = body.get("media_source").filter(|source| *source == "tts") {
        let message = "Speech cannot be made of a text in this version: upload a file";
        found.push(Violation::new("media_source", Rule::Invalid, message).with_value(source));
    }
}

/// Refuses to make a prompt of a file, or another prompt of a prompt: the id says which it is.
fn check_prompt(id: &str, body: &Body, found: &mut Violations) {
    if id.is_empty()
        || prompt_id(body).as_deref().unwrap_or(id) == id
            && id.contains('/') == body.contains_key("prompt_id")
    {
        return;
    }
    let message = "The id of a prompt is made of its language and prompt_id: they cannot change";
    found.push(Violation::new("prompt_id", Rule::Invalid, message).with_cause(id.into()));
}

/// Returns the id of a media document that stands for a prompt: `en-us/conf-welcome`.
pub(crate) fn prompt_id(body: &Body) -> Option<String> {
    let prompt = body.get("prompt_id")?.as_str()?;
    let language = body.get("language").and_then(Value::as_str).unwrap_or("en-us");
    Some(format!("{}/{prompt}", language.to_lowercase()))
}

/// Takes the realm out of a device that is in its account's own realm.
pub(crate) fn drop_own_realm(body: &mut Body, account_realm: &str) {
    let Some(Value::Object(sip)) = body.get_mut("sip") else {
        return;
    };
    let own = |realm: &Value| {
        realm
            .as_str()
            .is_some_and(|realm| realm.eq_ignore_ascii_case(account_realm))
    };
    if sip.get("realm").is_some_and(own) {
        sip.shift_remove("realm");
    }
}

/// A value that one document alone may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UniqueKey {
    /// Which value.
    pub(crate) name: &'static str,
    /// Among which documents.
    pub(crate) scope: String,
    /// The value as it is compared.
    pub(crate) value: String,
}

/// The user of a device in a realm.
pub(crate) const DEVICE_USERNAME: &str = "device.username";
/// The address of a device that is known by it.
pub(crate) const DEVICE_IP: &str = "device.ip";

impl UniqueKey {
    /// Returns what tells a client that another document has it.
    pub(crate) fn violation(&self, body: &Body) -> Violation {
        let sip = |key: &str| body.get("sip").and_then(|sip| sip.get(key)).cloned();
        let (field, message, key) = match self.name {
            DEVICE_IP => ("sip.ip", "SIP IP already in use", "ip"),
            _ => ("sip.username", "SIP credentials already in use", "username"),
        };
        let cause = sip(key).unwrap_or_else(|| json!(self.value));
        Violation::new(field, Rule::Unique, message).with_cause(cause)
    }
}

/// Returns the values that no other document may have.
pub(crate) fn unique_keys(kind: Kind, body: &Body, account_realm: &str) -> Vec<UniqueKey> {
    if kind != Kind::Device {
        return Vec::new();
    }
    let sip = |key: &str| {
        body.get("sip")
            .and_then(|sip| sip.get(key))
            .and_then(Value::as_str)
    };
    let username = sip("username").map(|username| UniqueKey {
        name: DEVICE_USERNAME,
        scope: sip("realm").unwrap_or(account_realm).to_lowercase(),
        value: storable(&username.to_lowercase()),
    });
    let known_by_ip = sip("method") == Some("ip");
    let ip = sip("ip").filter(|_| known_by_ip).map(|ip| UniqueKey {
        name: DEVICE_IP,
        scope: String::new(),
        value: ip.parse::<std::net::IpAddr>().map_or_else(
            |_| storable(&ip.to_lowercase()),
            |ip| ip.to_canonical().to_string(),
        ),
    });
    username.into_iter().chain(ip).collect()
}

/// What lists of users are sorted by: last name and first name; of others, nothing but the id.
pub(crate) fn sort_key(kind: Kind, body: &Body) -> String {
    /// Characters that count.
    const LENGTH: usize = 256;
    if kind != Kind::User {
        return String::new();
    }
    let name = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let sorted = format!("{} {}", name("last_name"), name("first_name")).to_lowercase();
    storable(&sorted.chars().take(LENGTH).collect::<String>())
}

/// Returns the user who owns a document.
pub(crate) fn owner(body: &Body) -> Option<String> {
    body.get("owner_id").and_then(Value::as_str).map(storable)
}

/// Returns a text as a database column can hold it: PostgreSQL takes no NUL.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Returns the letters and digits of an account's name, in lower case: what logins compare.
pub(crate) fn name_key(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect()
}

/// Returns where a secret of a document is sealed.
pub(crate) fn sealing_place(account: &AccountId, id: &str, path: &str) -> String {
    format!("{account}/{id}/{path}")
}

/// Calls `change` with every secret of a body and its dotted path.
pub(crate) fn secrets<E>(
    kind: Kind,
    body: &mut Body,
    mut change: impl FnMut(&str, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    fn walk<E>(
        value: &mut Value,
        path: &[&str],
        walked: String,
        change: &mut dyn FnMut(&str, &mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        match (path.split_first(), value) {
            (None, Value::String(text)) => change(&walked, text),
            (Some((&"*", rest)), Value::Array(items)) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(index, item)| walk(item, rest, format!("{walked}.{index}"), change)),
            (Some((key, rest)), Value::Object(map)) => match map.get_mut(*key) {
                Some(value) => walk(value, rest, format!("{walked}.{key}"), change),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
    for path in kind.sealed_paths() {
        let Some((first, rest)) = path.split_first() else {
            continue;
        };
        if let Some(value) = body.get_mut(*first) {
            walk(value, rest, (*first).to_owned(), &mut change)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
