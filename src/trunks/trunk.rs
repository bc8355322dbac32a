//! What a trunk's document says: the numbers that it takes, and the gateways behind it.
//!
//! Reads documents; decides nothing about calls.

use std::{sync::Arc, time::Duration};

use confab_conference::AccountId;
use confab_documents::{Body, Document};
use confab_sip::{DigestIdentity, Host, SipUri};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// The size of a rule made ready, in octets: as for the check of documents.
pub(super) const MOST_RULE_OCTETS: usize = 256 * 1024;
/// Gateways of one trunk that are used.
const MOST_GATEWAYS: usize = 64;

/// How often it is looked whether a gateway is there that does not say otherwise.
const PROBED_EACH: Duration = Duration::from_secs(30);
/// For how long this server registers with a gateway that does not say otherwise, seconds.
const REGISTERS_FOR_S: u32 = 300;

/// A trunk that is switched on and has a gateway.
#[derive(Debug)]
pub(crate) struct Trunk {
    /// The document's id.
    pub(crate) id: String,
    /// The cheapest is tried first.
    pub(crate) weight_cost: u64,
    /// The numbers that it takes; empty: all of the world.
    pub(crate) rules: Vec<Regex>,
    /// It takes emergency numbers before others; without rules, nothing else.
    pub(crate) is_emergency: bool,
    /// Its tags.
    pub(crate) flags: Vec<String>,
    /// Which of the account's caller ids is shown where a request names none: a key of the account's `caller_id`.
    pub(crate) caller_id: Option<String>,
    /// Accounts below may use it.
    pub(crate) includes_subaccounts: bool,
    /// The gateways are tried in any order, so that they share the calls.
    pub(crate) is_shared_out: bool,
    /// Where its calls go, in the order of the document; at least one.
    pub(crate) gateways: Vec<Arc<Gateway>>,
}

/// Which gateway, as long as it is the same server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GatewayKey {
    /// The account of its trunk.
    pub(crate) account: AccountId,
    /// The trunk's id.
    pub(crate) trunk: String,
    /// Its address as a URI.
    pub(crate) address: String,
}

/// One server of a trunk.
#[derive(Debug, PartialEq)]
pub(crate) struct Gateway {
    /// Which.
    pub(crate) key: GatewayKey,
    /// Where it is: host, port and transport.
    pub(crate) address: SipUri,
    /// How numbers are written for it.
    pub(crate) user: UserForm,
    /// Put before and behind every number.
    pub(crate) prefix: String,
    pub(crate) suffix: String,
    /// Host of From.
    pub(crate) from_host: Host,
    /// Who we are when it asks.
    pub(crate) identity: Option<DigestIdentity>,
    /// Names of codecs, the best first; empty: all there are.
    pub(crate) codecs: Vec<String>,
    /// Header fields of its own, as the document has them.
    pub(crate) custom_headers: Option<Value>,
    /// How long it may take until the far side rings.
    pub(crate) progress_within: Option<Duration>,
    /// How often it is looked whether it is there.
    pub(crate) probed_each: Option<Duration>,
    /// For how many seconds this server registers with it; `None`: not at all.
    pub(crate) registers_for_s: Option<u32>,
}

/// How a gateway wants the user of the request URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UserForm {
    /// The number in a form of `invite_format`: `e164`, `npan`, `1npan`, `strip_plus`.
    Number(String),
    /// The same for all calls.
    Fixed(String),
    /// All calls go to this URI.
    Route(SipUri),
}

impl GatewayKey {
    /// Its host and port, where it names one.
    pub(crate) fn server(&self) -> &str {
        let bare = self.address.strip_prefix("sip:").unwrap_or(&self.address);
        bare.split(';').next().unwrap_or(bare)
    }
}

impl Trunk {
    /// Reads a document; `None` when it is switched off or none of its gateways can be used.
    pub(crate) fn read(document: &Document) -> Option<Trunk> {
        let body = &document.body;
        if is_off(body) {
            return None;
        }
        let of_list = |key: &str| body.get(key).and_then(Value::as_array).into_iter().flatten();
        let gateways: Vec<Arc<Gateway>> = of_list("gateways")
            .filter_map(Value::as_object)
            .filter(|gateway| !is_off(gateway))
            .filter_map(|gateway| Gateway::read(&document.account_id, &document.id, gateway))
            .take(MOST_GATEWAYS)
            .map(Arc::new)
            .collect();
        let rules = of_list("rules").filter_map(Value::as_str).filter_map(|rule| {
            // Documents with others are refused.
            RegexBuilder::new(rule).size_limit(MOST_RULE_OCTETS).build().ok()
        });
        let caller_id = body
            .get("caller_id_options")
            .and_then(|options| options.get("type"));
        (!gateways.is_empty()).then(|| Trunk {
            id: document.id.clone(),
            weight_cost: body.get("weight_cost").and_then(Value::as_u64).unwrap_or(50),
            rules: rules.collect(),
            is_emergency: body.get("emergency") == Some(&Value::Bool(true)),
            flags: of_list("flags")
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            caller_id: caller_id.and_then(Value::as_str).map(str::to_owned),
            includes_subaccounts: body.get("include_subaccounts") == Some(&Value::Bool(true)),
            is_shared_out: text(body, "gateway_strategy") == Some("random"),
            gateways,
        })
    }
}

impl Gateway {
    fn read(account: &AccountId, trunk: &str, body: &Body) -> Option<Gateway> {
        let address = address(body)?;
        let username = text(body, "username");
        let realm = text(body, "realm");
        let user = match text(body, "invite_format").unwrap_or("e164") {
            "route" => UserForm::Route(route(text(body, "route")?)?),
            "username" => match username {
                Some(username) => UserForm::Fixed(username.to_owned()),
                None => UserForm::Number("strip_plus".to_owned()),
            },
            format => UserForm::Number(format.to_owned()),
        };
        let from_host = [text(body, "from_realm"), realm]
            .into_iter()
            .flatten()
            .find_map(|host| Host::parse(&host.into()).ok())
            .unwrap_or_else(|| address.host.clone());
        let identity = username.zip(text(body, "password"));
        let number = |key: &str| body.get(key).and_then(Value::as_u64);
        let seconds = number("progress_timeout");
        let codecs = body.get("codecs").and_then(Value::as_array);
        Some(Gateway {
            key: GatewayKey {
                account: account.clone(),
                trunk: trunk.to_owned(),
                address: address.to_string(),
            },
            address,
            user,
            prefix: text(body, "prefix").unwrap_or_default().to_owned(),
            suffix: text(body, "suffix").unwrap_or_default().to_owned(),
            from_host,
            identity: identity.map(|(username, password)| DigestIdentity {
                username: username.to_owned(),
                password: password.to_owned(),
                realm: realm.map(str::to_owned),
            }),
            codecs: codecs
                .into_iter()
                .flatten()
                .filter_map(|codec| codec.as_str().map(str::to_owned))
                .collect(),
            custom_headers: body.get("custom_sip_headers").cloned(),
            probed_each: match number("ping_seconds") {
                Some(0) => None,
                each => Some(each.map_or(PROBED_EACH, Duration::from_secs)),
            },
            registers_for_s: (body.get("register") == Some(&Value::Bool(true))).then(|| {
                let asked = number("expire_seconds").and_then(|seconds| u32::try_from(seconds).ok());
                asked.unwrap_or(REGISTERS_FOR_S)
            }),
            progress_within: seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        })
    }
}

/// Reads where a gateway is.
fn address(body: &Body) -> Option<SipUri> {
    let server = text(body, "server")?.trim();
    let is_bare_ipv6 = server.parse::<std::net::Ipv6Addr>().is_ok();
    let written = if is_bare_ipv6 {
        format!("sip:[{server}]")
    } else {
        format!("sip:{server}")
    };
    let read = SipUri::parse(written).ok()?;
    let port = body.get("port").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).or(read.port);
    // Of a server that is written as more than a host, the host alone counts.
    let address = SipUri::new(read.host, port);
    Some(match text(body, "transport") {
        Some(transport) => address.with_param("transport", Some(transport)),
        None => address,
    })
}

/// Reads where all calls of a gateway go.
fn route(text: &str) -> Option<SipUri> {
    let mut uri = SipUri::parse(text.trim().to_owned()).ok()?;
    uri.headers = confab_sip::Params::new();
    uri.params.remove("method");
    Some(uri)
}

fn is_off(body: &Body) -> bool {
    body.get("enabled") == Some(&Value::Bool(false))
}

fn text<'a>(body: &'a Body, key: &str) -> Option<&'a str> {
    body.get(key)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}
