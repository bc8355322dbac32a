//! Who can be called, and where he may be.
//!
//! Owns the words between whoever finds somebody and whoever lets him ring; finds nobody itself.

use std::{collections::BTreeMap, time::Duration};

use confab_sip::{DigestIdentity, HeaderName, NameAddr, Reachable, SipUri};

use super::{number::E164, shown::Privacy};
use crate::{signalling::OutgoingDestination, trunks::Choice};

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
#[derive(Debug, Clone)]
pub(super) struct Callee {
    /// Where he may be, all of which ring; at least one, unless he is outside.
    pub(super) at: Vec<Place>,
    /// He is outside: he is called by a trunk.
    pub(super) outside: Option<Outside>,
    /// Whoever forwards his calls to him is shown as calling.
    pub(super) forwarder: Option<Forwarder>,
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

/// A number of the world.
#[derive(Debug, Clone)]
pub(super) struct Outside {
    /// In its international form, where it has one.
    pub(super) number: Option<E164>,
    /// It is one of the emergency services.
    pub(super) is_emergency: bool,
    /// The gateways that take it, in the order in which they are tried; at least one.
    pub(super) choices: Vec<Choice>,
}

/// Whoever forwards calls under his own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forwarder {
    /// Name and number within the account.
    pub(super) internal: (Option<String>, Option<String>),
    /// Name and number towards the world.
    pub(super) external: (Option<String>, Option<String>),
    /// Name and number in emergency calls.
    pub(super) emergency: (Option<String>, Option<String>),
    /// What the world is not told.
    pub(super) privacy: Option<Privacy>,
}

impl Callee {
    /// Returns somebody of whom no document tells.
    pub(super) fn somebody(at: Vec<Place>, name: String, number: String) -> Callee {
        Callee {
            at,
            outside: None,
            forwarder: None,
            name,
            number,
            channel_vars: BTreeMap::new(),
            codecs: Vec::new(),
            security: Security::Open,
            identity: None,
            headers: Vec::new(),
            progress_within: None,
            confirms: false,
        }
    }
}
