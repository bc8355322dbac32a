//! What keys mean to each other: listeners that want the same port, and keys that do nothing without another one.
//!
//! Looks at values that were read already; binds nothing.

use std::net::{IpAddr, SocketAddr};

use super::{
    Config,
    error::{Place, Problem},
};

/// An address that the configuration wants to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The key that names it.
    pub(crate) key: &'static str,
    /// Where it listens; port 0: wherever the system has room.
    pub(crate) address: SocketAddr,
    /// What it listens for.
    pub(crate) carrier: Carrier,
}

/// What a listener listens for: each has ports of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Datagrams.
    Udp,
    /// Connections; the wildcard `[::]` is IPv6 alone, for IPv4 has a line of its own.
    Tcp,
    /// Connections of HTTP; the wildcard `[::]` is IPv4 too, as the system has it by default.
    TcpOfBothFamilies,
}

/// A key that is set and does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Idle {
    /// The key.
    pub(crate) key: &'static str,
    /// Why.
    pub(crate) why: &'static str,
}

impl Listener {
    /// Whether the system would give one of the two its address and not the other.
    fn excludes(&self, other: &Listener) -> bool {
        let is_udp = |listener: &Listener| listener.carrier == Carrier::Udp;
        is_udp(self) == is_udp(other)
            && self.address.port() != 0
            && self.address.port() == other.address.port()
            && (self.covers(other.address) || other.covers(self.address))
    }

    /// Whether what is sent to `address` reaches this listener.
    fn covers(&self, address: SocketAddr) -> bool {
        let ours = self.address.ip().to_canonical();
        let theirs = address.ip().to_canonical();
        if let (SocketAddr::V6(ours), SocketAddr::V6(theirs)) = (self.address, address)
            && !ours.ip().is_unspecified()
        {
            // A link-local address is another one on another interface.
            return (ours.ip(), ours.scope_id()) == (theirs.ip(), theirs.scope_id());
        }
        match ours {
            IpAddr::V6(any) if any.is_unspecified() && self.carrier == Carrier::TcpOfBothFamilies => true,
            any if any.is_unspecified() => any.is_ipv4() == theirs.is_ipv4(),
            ours => ours == theirs,
        }
    }
}

impl Config {
    /// Returns every address that is listened on, the media's apart.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let (http, sip) = (&self.http, &self.sip);
        let doors = [
            ("http.bind", Some(http.bind)),
            ("http.websocket_bind", http.websocket_bind),
            ("http.tls_bind", http.tls.as_ref().map(|tls| tls.bind)),
            ("http.websocket_tls_bind", http.websocket_tls_bind),
            ("http.admin_bind", http.admin_bind),
        ];
        let doors = doors
            .into_iter()
            .filter_map(|(key, address)| Some((key, address?, Carrier::TcpOfBothFamilies)));
        let tls = sip.tls.as_ref();
        let none: &[SocketAddr] = &[];
        let lines = [
            ("sip.udp", sip.udp.as_slice(), Carrier::Udp),
            ("sip.tcp", &sip.tcp, Carrier::Tcp),
            ("sip.tls", tls.map_or(none, |tls| &tls.listen), Carrier::Tcp),
            ("sip.ws", &sip.ws, Carrier::Tcp),
            ("sip.wss", tls.map_or(none, |tls| &tls.wss), Carrier::Tcp),
        ];
        let lines = lines
            .into_iter()
            .flat_map(|(key, all, carrier)| all.iter().map(move |address| (key, *address, carrier)));
        doors
            .chain(lines)
            .map(|(key, address, carrier)| Listener {
                key,
                address,
                carrier,
            })
            .collect()
    }

    /// Returns one problem for each two keys that want the same port.
    pub(super) fn shared_ports(&self) -> Vec<Problem> {
        let listeners = self.listeners();
        let mut told: Vec<(&str, &str)> = Vec::new();
        let mut problems = Vec::new();
        for (index, later) in listeners.iter().enumerate() {
            let earlier = listeners[..index]
                .iter()
                .find(|earlier| later.excludes(earlier) && !told.contains(&(earlier.key, later.key)));
            let Some(earlier) = earlier else { continue };
            told.push((earlier.key, later.key));
            let (one, other) = self.to_blame(later, earlier);
            let text = format!(
                "wants {}, and {} wants {}: one excludes the other, give each a port of its own",
                one.address, other.key, other.address
            );
            problems.push(self.problem(one.key, text));
        }
        problems.extend(self.media_ports_taken());
        problems
    }

    /// Returns the problem of a UDP listener in the midst of the ports of media.
    fn media_ports_taken(&self) -> Option<Problem> {
        let (ports, binds) = (&self.media.ports, &self.media.bind);
        // Legs take an even port and the next one; what is left over at the ends is nobody's.
        let used = ports.start().next_multiple_of(2)..=ports.end() - (ports.end() + 1) % 2;
        let meets = |listener: &&Listener| {
            let media = |ip: &IpAddr| Listener {
                key: "media.ports",
                address: SocketAddr::new(*ip, listener.address.port()),
                carrier: Carrier::Udp,
            };
            used.contains(&listener.address.port()) && binds.iter().any(|ip| listener.excludes(&media(ip)))
        };
        let listeners = self.listeners();
        let udp = listeners.iter().find(meets)?;
        let is_default = self.values.setting(udp.key).place == Place::Default;
        let key = if is_default { "media.ports" } else { udp.key };
        let text = format!(
            "{} of {} is one of the ports that calls have for their audio (media.ports, {}-{}): take it from outside of them",
            udp.address,
            udp.key,
            ports.start(),
            ports.end()
        );
        Some(self.problem(key, text))
    }

    /// Puts first which of the two a mistake is told of: the one that is no default.
    fn to_blame<'a>(&self, later: &'a Listener, earlier: &'a Listener) -> (&'a Listener, &'a Listener) {
        let is_default = |listener: &Listener| self.values.setting(listener.key).place == Place::Default;
        if is_default(later) && !is_default(earlier) {
            (earlier, later)
        } else {
            (later, earlier)
        }
    }

    fn problem(&self, key: &str, text: String) -> Problem {
        Problem {
            place: self.values.setting(key).place.clone(),
            key: Some(key.to_owned()),
            text,
        }
    }

    /// Returns the keys that are set and do nothing, as what they belong to is switched off.
    pub(crate) fn idle_keys(&self) -> Vec<Idle> {
        let (http, sip) = (&self.http, &self.sip);
        let no_websocket = http.websocket_bind.is_none() && http.websocket_tls_bind.is_none();
        let rows: [(bool, &[&str], &str); 4] = [
            (
                http.tls.is_none(),
                &["http.tls_cert", "http.tls_key"],
                "http.tls_bind is empty: there is no HTTPS",
            ),
            (
                sip.tls.is_none(),
                &["sip.tls_cert", "sip.tls_key"],
                "sip.tls and sip.wss are empty: no TLS is listened for",
            ),
            (
                no_websocket,
                &["http.max_connections_per_ip"],
                "http.websocket_bind and http.websocket_tls_bind are empty: there is no WebSocket",
            ),
            (
                !self.fetch.enabled,
                &[
                    "fetch.allow_private",
                    "fetch.max_mb",
                    "fetch.max_minutes",
                    "fetch.timeout_s",
                    "fetch.cache_mb",
                ],
                "fetch.enabled is false: no URL is played",
            ),
        ];
        let off = rows.into_iter().filter(|(is_off, ..)| *is_off);
        let keys = off.flat_map(|(_, keys, why)| keys.iter().map(move |key| Idle { key, why }));
        let defaults = super::Values::defaults(super::DEFAULT_TOML);
        keys.filter(|idle| self.values.get(idle.key) != defaults.get(idle.key))
            .collect()
    }
}
