//! What fuzzing and property tests hold the registrar to, for any sequence of requests and waits. Part of the normal build, so that a
//! change of the interface cannot silently break a fuzz target.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{BindingId, RegisterRequest, Registrar, RegistrarConfig, RegistrarOutput};
use crate::endpoint::{Flow, Transport};
use crate::message::{HeaderName, Headers, Message, Method};

const CONTACTS: [&str; 12] = [
    "",
    "Contact: *\r\n",
    "Contact: <sip:a@10.0.0.1>\r\n",
    "Contact: <sip:a@192.0.2.10:5060>;expires=90\r\n",
    "Contact: <sip:a@192.0.2.10:5061;transport=tcp>\r\n",
    "Contact: <sip:a@10.0.0.1>;expires=0, <sip:b@10.0.0.2>;q=0.3\r\n",
    "Contact: <sip:c@10.0.0.3;ob>;+sip.instance=\"<urn:x>\";reg-id=1\r\n",
    "Contact: <sip:d@10.0.0.4;ob>;+sip.instance=\"<urn:x>\";reg-id=1\r\n",
    "Contact: <sip:e@h.example>;+sip.instance=\"<urn:x>\"\r\n",
    "Contact: <sip:A@10.0.0.1>;expires=x\r\n",
    "Contact: <tel:+1>\r\n",
    "Contact: <sip:a@10.0.0.1>, <sip:b@10.0.0.1>, <sip:c@10.0.0.1>, <sip:d@10.0.0.1>, <sip:e@10.0.0.1>\r\n",
];
const EXPIRES: [&str; 6] = [
    "",
    "Expires: 0\r\n",
    "Expires: 30\r\n",
    "Expires: 60\r\n",
    "Expires: 99999999\r\n",
    "Expires: ?\r\n",
];
const WAITS_S: [u64; 6] = [0, 1, 29, 60, 100, 4000];
const LIMITS: RegistrarConfig = RegistrarConfig {
    min_expires: 60,
    max_expires: 600,
    max_contacts: 3,
    max_bindings: 7,
    keep_alive: Some(Duration::from_secs(30)),
    local_nets: Vec::new(),
};

/// Reads `data` as a script of REGISTERs of a few owners, closed connections and waits; or, where its first octet is odd, as a REGISTER.
/// `start` is any instant.
///
/// # Panics
/// When a promise is broken: more bindings than there may be, a 200 that tells others than there are, an output about a binding that
/// was never told of, or one that outlives its time.
pub fn fuzz_registrar(start: Instant, data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let mut player = Player {
        registrar: Registrar::new(LIMITS),
        now: start,
        known: BTreeMap::new(),
    };
    if first % 2 == 1 {
        player.register(0, flow(0), Bytes::copy_from_slice(rest));
    } else {
        for step in rest.chunks(4) {
            player.play([0, 1, 2, 3].map(|place| step.get(place).copied().unwrap_or(0)));
        }
    }
    player.finish();
}

struct Player {
    registrar: Registrar<u8>,
    now: Instant,
    /// What the outputs say there is.
    known: BTreeMap<BindingId, u8>,
}

fn flow(choice: u8) -> Flow {
    let local = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 5060));
    let remote = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10), 5060 + u16::from(choice % 3)));
    match choice % 2 {
        0 => Flow::udp(local, remote),
        _ => Flow::tcp(local, remote, 1 + u64::from(choice % 4)),
    }
}

fn pick<T: Copy>(from: &[T], choice: u8) -> T {
    from[usize::from(choice) % from.len()]
}

impl Player {
    fn play(&mut self, [what, who, how, when]: [u8; 4]) {
        match what % 8 {
            6 => self.registrar.handle_connection_closed((how % 5).into()),
            7 if how % 16 == 0 => self.registrar.remove(&(who % 3)),
            7 => {
                self.now += Duration::from_secs(pick(&WAITS_S, when));
                self.registrar.handle_timeout(self.now);
                let due = self.registrar.poll_timeout();
                assert!(due.is_none_or(|due| due > self.now), "a timeout was left behind");
            }
            _ => {
                let (contact, expires) = (pick(&CONTACTS, how), pick(&EXPIRES, when));
                let path = if what == 5 {
                    "Path: <sip:192.0.2.20;lr>\r\nSupported: path\r\n"
                } else {
                    ""
                };
                let (call, cseq) = (who / 3 % 2, when / 8);
                let text = format!(
                    "REGISTER sip:x.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:u@x.example>;tag=f\r\n\
                     To: <sip:u@x.example>\r\nCall-ID: c{call}\r\nCSeq: {cseq} REGISTER\r\n{contact}{expires}{path}\r\n"
                );
                self.register(who % 3, flow(what / 8), text.into());
            }
        }
        self.drain();
    }

    fn register(&mut self, owner: u8, flow: Flow, bytes: Bytes) {
        let Ok(Message::Request(request)) = Message::parse(bytes) else {
            return;
        };
        if request.method != Method::Register {
            return;
        }
        let wanted = match RegisterRequest::read(&request, flow) {
            Ok(wanted) => wanted,
            Err(reply) => return assert!(!reply.status.is_success()),
        };
        let before = self.registrar.reachable(self.now, &owner);
        let reply = self.registrar.register(self.now, &owner, &wanted, 300);
        let after = self.registrar.reachable(self.now, &owner);
        if !reply.status.is_success() {
            return assert_eq!(before.len(), after.len(), "a refusal changes nothing");
        }
        let mut told = Headers::new();
        for (name, value) in &reply.headers {
            if *name == HeaderName::Contact {
                told.push(name.clone(), value.clone());
            }
        }
        let told = told.contacts().expect("contacts that read");
        assert_eq!(told.len(), after.len(), "a 200 tells what there is");
        for contact in told {
            let left = contact
                .params
                .value("expires")
                .and_then(|left| left.as_str()?.parse().ok());
            assert!(matches!(left, Some(1..=600)), "{left:?}");
        }
        if wanted.only_asks() {
            assert_eq!(before, after);
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.registrar.poll_output() {
            match output {
                RegistrarOutput::Bound { owner, id, is_first } => {
                    assert_eq!(is_first, !self.known.values().any(|of| *of == owner));
                    assert!(self.known.insert(id, owner).is_none(), "a number is used once");
                }
                RegistrarOutput::Refreshed { owner, id, .. } => assert_eq!(self.known.get(&id), Some(&owner)),
                RegistrarOutput::Unbound {
                    owner, id, was_last, ..
                } => {
                    assert_eq!(self.known.remove(&id), Some(owner));
                    assert_eq!(was_last, !self.known.values().any(|of| *of == owner));
                }
                RegistrarOutput::KeepAlive(contact) => assert_eq!(contact.flow.transport, Transport::Udp),
            }
        }
        let (bindings, owners) = self.registrar.counts();
        assert_eq!(bindings, self.known.len());
        assert!(bindings <= LIMITS.max_bindings && owners <= bindings);
        for owner in 0..3 {
            let of = self.known.values().filter(|of| **of == owner).count();
            assert!(of <= LIMITS.max_contacts, "{of}");
        }
    }

    fn finish(mut self) {
        self.drain();
        self.now += Duration::from_secs(LIMITS.max_expires.into());
        self.registrar.handle_timeout(self.now);
        self.drain();
        assert!(self.known.is_empty(), "nothing outlives its time");
        assert_eq!(self.registrar.poll_timeout(), None);
    }
}
