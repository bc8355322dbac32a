//! How somebody is reached: what is asked for at each place where he may be, and of each gateway that takes his number.
//!
//! Owns what stands in an INVITE because of whom it goes to. Asks the brake, places nothing.

use std::sync::Arc;

use confab_documents::Body;
use confab_sdp::Capabilities;
use confab_sip::{HeaderName, Host, NameAddr};
use serde_json::Value;

use super::{
    Dial,
    brake::Called,
    callee::{Callee, Outside, Place, Security},
    number, offer,
    parts::{custom_headers, text},
    shown::{ANONYMOUS, Privacy, Shown},
    words,
};
use crate::{
    signalling::{Attempt, OutgoingDestination},
    trunks::{Choice, GatewayUse, UserForm},
};

/// What a call by a trunk says of the trunk, as participants show it.
const TRUNK: &str = "resource_id";

impl Dial<'_> {
    /// Returns, for each place where somebody may be, how he is reached there, or why he is not called.
    pub(super) fn forks(&self, callee: &Callee) -> Vec<Result<Vec<Attempt>, &'static str>> {
        match &callee.outside {
            Some(outside) => vec![self.by_trunk(callee, outside)],
            None => {
                let places = callee.at.iter();
                places
                    .map(|place| self.at(callee, place).map(|attempt| vec![attempt]))
                    .collect()
            }
        }
    }

    fn at(&self, callee: &Callee, place: &Place) -> Result<Attempt, &'static str> {
        let target = &place.destination.target;
        if place.is_judged && self.dialler.brake.bars_target(target) {
            return Err(words::BARRED);
        }
        let own = &self.server.capabilities;
        let offered = match place.destination.is_internal {
            true => offer::uncompressed(own),
            false => offer::ordered(own, &callee.codecs),
        };
        // The device insists on what this server does not do.
        let srtp = offer::policy(own.srtp, callee.security).ok_or(words::INCOMPATIBLE)?;
        let shown = self.shown(callee);
        let printed = |address: &NameAddr| String::from_utf8_lossy(&address.to_bytes()).into_owned();
        let route = place.route.iter();
        let mut headers: Vec<(HeaderName, String)> =
            route.map(|route| (HeaderName::Route, printed(route))).collect();
        headers.extend(shown.asserted(self.host()));
        if place.destination.is_internal {
            headers.push(self.server.pass.header());
        }
        headers.extend(callee.headers.iter().cloned());
        headers.extend(self.headers.iter().cloned());
        Ok(Attempt {
            destination: place.destination.clone(),
            from: shown.from(self.host()),
            to: NameAddr::new(target.clone()),
            identity: callee.identity.clone(),
            headers,
            capabilities: Arc::new(Capabilities { srtp, ..offered }),
            progress_within: callee.progress_within,
            gateway: None,
            channel_vars: Vec::new(),
        })
    }

    /// All gateways that take a number and may be asked for it.
    pub(super) fn by_trunk(&self, callee: &Callee, outside: &Outside) -> Result<Vec<Attempt>, &'static str> {
        let attempts: Vec<Attempt> = outside
            .choices
            .iter()
            .filter_map(|choice| self.at_gateway(callee, outside, choice))
            .collect();
        if attempts.is_empty() {
            return Err(words::BARRED);
        }
        Ok(attempts)
    }

    /// `None` where the patterns of `[outbound]` forbid what would be dialled.
    fn at_gateway(&self, callee: &Callee, outside: &Outside, choice: &Choice) -> Option<Attempt> {
        let Choice {
            trunk,
            gateway,
            dialled,
        } = choice;
        let number = outside.number.as_ref();
        let user = match &gateway.user {
            UserForm::Number(format) => number::for_gateway(number, dialled, format),
            UserForm::Fixed(user) => user.clone(),
            UserForm::Route(_) => dialled.clone(),
        };
        let user = format!("{}{user}{}", gateway.prefix, gateway.suffix);
        let asked = |user| Called { user, host: None };
        let brake = &self.dialler.brake;
        let full = number.map_or(dialled.as_str(), number::E164::as_str);
        // A rule or a prefix makes no way around what is forbidden.
        if brake.bars(&asked(full)) || brake.denies(&asked(dialled)) || brake.denies(&asked(&user)) {
            return None;
        }
        let target = match &gateway.user {
            UserForm::Route(uri) => uri.clone(),
            _ => gateway.address.clone().with_user(&user),
        };
        let mut to = target.clone();
        to.params = confab_sip::Params::new();
        let shown = match outside.is_emergency {
            true => self.shown_in_emergency(callee, trunk.caller_id.as_deref()),
            false => self.shown_to_trunk(callee, trunk.caller_id.as_deref()),
        };
        let mut headers = shown.asserted(gateway.from_host.clone());
        headers.extend(custom_headers(gateway.custom_headers.as_ref()));
        headers.extend(self.headers.iter().cloned());
        let own = &self.server.capabilities;
        let offered = offer::ordered(own, &gateway.codecs);
        let srtp = offer::policy(own.srtp, Security::Open)?;
        Some(Attempt {
            destination: OutgoingDestination {
                target,
                by: None,
                flow: None,
                is_internal: false,
            },
            from: shown.from(gateway.from_host.clone()),
            to: NameAddr::new(to),
            identity: gateway.identity.clone(),
            headers,
            capabilities: Arc::new(Capabilities { srtp, ..offered }),
            progress_within: gateway.progress_within,
            gateway: Some(GatewayUse::of(&self.dialler.trunks, gateway)),
            channel_vars: vec![(TRUNK.to_owned(), trunk.id.clone())],
        })
    }

    /// Who is shown as calling within the account: whoever forwards under his own name, else whom the request names, else the
    /// conference.
    fn shown(&self, callee: &Callee) -> Shown {
        let (name, number) = match &callee.forwarder {
            Some(forwarder) => forwarder.internal.clone(),
            None => (None, None),
        };
        Shown {
            name: name
                .or_else(|| self.request.caller_id_name.clone())
                .unwrap_or_else(|| self.conference_name()),
            number: number
                .or_else(|| self.request.caller_id_number.clone())
                .unwrap_or_else(|| self.conference_number()),
            privacy: Privacy::None,
        }
    }

    /// Who is shown as calling to a trunk that wants callers to be shown by this of the account's ids, where nobody says more.
    fn shown_to_trunk(&self, callee: &Callee, caller_id: Option<&str>) -> Shown {
        let of_account =
            |kind: &str, key: &str| text(self.account_body, &["caller_id", kind, key]).map(str::to_owned);
        let by_trunk = |key: &str| caller_id.and_then(|kind| of_account(kind, key));
        let own_privacy = || Privacy::of(self.account_body);
        let ((name, number), privacy) = match &callee.forwarder {
            Some(forwarder) => {
                let (name, number) = forwarder.external.clone();
                let (name, number) = (
                    name.or_else(|| of_account("external", "name")),
                    number.or_else(|| of_account("external", "number")),
                );
                ((name, number), forwarder.privacy.or_else(own_privacy))
            }
            None => {
                let asked = (
                    self.request.caller_id_name.clone(),
                    self.request.caller_id_number.clone(),
                );
                (asked, own_privacy())
            }
        };
        let mut privacy = privacy.unwrap_or(Privacy::None);
        let number = number
            .or_else(|| by_trunk("number"))
            .unwrap_or_else(|| self.conference_number());
        if number == ANONYMOUS {
            privacy = Privacy::Full;
        }
        Shown {
            name: name
                .or_else(|| by_trunk("name"))
                .unwrap_or_else(|| self.conference_name()),
            number,
            privacy,
        }
    }

    /// Who is shown to the emergency services: the caller id for emergencies of whoever forwards, else of the account, before all others; and
    /// nothing is held back that is known.
    fn shown_in_emergency(&self, callee: &Callee, caller_id: Option<&str>) -> Shown {
        let of_account =
            |key: &str| text(self.account_body, &["caller_id", "emergency", key]).map(str::to_owned);
        let of_forwarder = callee
            .forwarder
            .as_ref()
            .map(|forwarder| forwarder.emergency.clone());
        let (name, number) = of_forwarder.unwrap_or_default();
        let (name, number) = (
            name.or_else(|| of_account("name")),
            number.or_else(|| of_account("number")),
        );
        let otherwise = self.shown_to_trunk(callee, caller_id);
        let number = number.unwrap_or(otherwise.number);
        let privacy = if number == ANONYMOUS {
            Privacy::Full
        } else {
            Privacy::None
        };
        Shown {
            name: name.unwrap_or(otherwise.name),
            number,
            privacy,
        }
    }

    /// The number of the conference that calls.
    fn conference_number(&self) -> String {
        let body = &self.request.conference.body;
        let first = |list: Option<&Value>| Some(list?.get(0)?.as_str()?.to_owned());
        let numbers = |role: &str| first(body.get(role).and_then(|role| role.get("numbers")));
        let own = first(body.get("conference_numbers"));
        own.or_else(|| numbers("member"))
            .or_else(|| numbers("moderator"))
            .unwrap_or_else(|| ANONYMOUS.to_owned())
    }

    fn conference_name(&self) -> String {
        let body: &Body = &self.request.conference.body;
        text(body, &["name"]).unwrap_or_default().to_owned()
    }

    /// The host that the conference is at.
    fn host(&self) -> Host {
        let domain = text(&self.request.conference.body, &["domain"]);
        domain
            .and_then(|domain| Host::parse(&domain.into()).ok())
            .or_else(|| Host::parse(&self.account.realm.as_str().into()).ok())
            .unwrap_or_else(|| Host::from(std::net::IpAddr::from([127, 0, 0, 1])))
    }
}
