//! Owns a small DNS server on loopback: records of a test, and a count of what was asked.
//!
//! Answers over UDP, without compression, with NXDOMAIN for names that it does not have.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long every record is good, seconds.
const TTL_S: u32 = 300;

const A: u16 = 1;
const SOA: u16 = 6;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const NAPTR: u16 = 35;
const NO_SUCH_NAME: u8 = 3;

/// What a name has.
#[derive(Debug, Clone)]
pub enum DnsRecord {
    /// An address of either family.
    Address(IpAddr),
    /// A server of a service (RFC 2782).
    Srv {
        /// The lowest first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// Port.
        port: u16,
        /// Host name.
        target: &'static str,
    },
    /// A rule with flag `s` (RFC 3403).
    Naptr {
        /// The lowest first.
        order: u16,
        /// The lowest first among equals.
        preference: u16,
        /// Such as `SIP+D2U`.
        service: &'static str,
        /// Name of the SRV records.
        replacement: &'static str,
    },
}

/// A running server. Dropping it ends it.
pub struct DnsServer {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<(String, u16), usize>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Serves these records.
    pub fn start(records: Vec<(&'static str, DnsRecord)>) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let address = socket.local_addr()?;
        let asked = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let stopping = Arc::<AtomicBool>::default();
        let (counts, stop) = (Arc::clone(&asked), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let Some((name, kind, question_end)) = question(&buffer[..length]) else {
                    continue;
                };
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry((name.clone(), kind)).or_default() += 1;
                drop(counts);
                let _ = socket.send_to(&answer(&buffer[..question_end], &records, &name, kind), from);
            }
        });
        Ok(Self {
            address,
            asked,
            stopping,
            thread: Some(thread),
        })
    }

    /// Returns where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how often it was asked, for whatever.
    pub fn questions(&self) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.values().sum()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the one question: its name in lower case, its type, and where it ends.
fn question(bytes: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(bytes.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
    bytes.get(at + 3)?;
    Some((labels.join("."), kind, at + 4))
}

fn answer(asked: &[u8], records: &[(&str, DnsRecord)], name: &str, kind: u16) -> Vec<u8> {
    let of_name = || records.iter().filter(|(owner, _)| *owner == name);
    let found: Vec<&DnsRecord> = of_name()
        .map(|(_, record)| record)
        .filter(|record| kind_of(record) == kind)
        .collect();
    let code = if of_name().next().is_none() {
        NO_SUCH_NAME
    } else {
        0
    };
    let count = u16::try_from(found.len()).unwrap_or(u16::MAX);
    let mut out = asked.to_vec();
    // A response with authority; recursion was wanted and is had. One question, the answers, nothing else.
    out[2] = 0x85;
    out[3] = 0x80 | code;
    out[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    out[6..8].copy_from_slice(&count.to_be_bytes());
    if found.is_empty() {
        // Without the zone's own record nobody remembers that there is nothing (RFC 2308 §5).
        out[9] = 1;
        let zone = name.rsplit('.').next().unwrap_or_default();
        let data = [
            name_bytes("ns.test"),
            name_bytes("admin.test"),
            [TTL_S; 5].map(u32::to_be_bytes).concat(),
        ]
        .concat();
        out.extend(name_bytes(zone));
        out.extend(SOA.to_be_bytes());
        out.extend([0, 1]);
        out.extend(TTL_S.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend(data);
    }
    for record in found {
        out.extend(name_bytes(name));
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(TTL_S.to_be_bytes());
        let data = data(record);
        out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend(data);
    }
    out
}

fn kind_of(record: &DnsRecord) -> u16 {
    match record {
        DnsRecord::Address(IpAddr::V4(_)) => A,
        DnsRecord::Address(IpAddr::V6(_)) => AAAA,
        DnsRecord::Srv { .. } => SRV,
        DnsRecord::Naptr { .. } => NAPTR,
    }
}

fn data(record: &DnsRecord) -> Vec<u8> {
    match record {
        DnsRecord::Address(IpAddr::V4(ip)) => ip.octets().to_vec(),
        DnsRecord::Address(IpAddr::V6(ip)) => ip.octets().to_vec(),
        DnsRecord::Srv {
            priority,
            weight,
            port,
            target,
        } => {
            let mut out: Vec<u8> = [priority, weight, port]
                .into_iter()
                .flat_map(|number| number.to_be_bytes())
                .collect();
            out.extend(name_bytes(target));
            out
        }
        DnsRecord::Naptr {
            order,
            preference,
            service,
            replacement,
        } => {
            let mut out: Vec<u8> = [order, preference]
                .into_iter()
                .flat_map(|number| number.to_be_bytes())
                .collect();
            for text in ["s", service, ""] {
                out.push(u8::try_from(text.len()).unwrap_or(0));
                out.extend(text.as_bytes());
            }
            out.extend(name_bytes(replacement));
            out
        }
    }
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_what_it_has_and_says_what_it_has_not() {
        let server = DnsServer::start(vec![("a.test", DnsRecord::Address([127, 0, 0, 9].into()))]).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let ask = |name: &str| {
            let mut text = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            text.extend(name_bytes(name));
            text.extend([0, 1, 0, 1]);
            socket.send_to(&text, server.address()).unwrap();
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).unwrap();
            answer[..length].to_vec()
        };
        let known = ask("A.test");
        assert_eq!((known[..2].to_vec(), known[3] & 15, known[7]), (vec![7, 8], 0, 1));
        assert!(known.ends_with(&[127, 0, 0, 9]));
        let unknown = ask("b.test");
        assert_eq!((unknown[3] & 15, unknown[7]), (NO_SUCH_NAME, 0));
        assert_eq!(server.questions(), 2);
    }
}
