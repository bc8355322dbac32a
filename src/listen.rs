//! Listening: whether there is IPv6, and the words for an address that cannot be listened on: which key, what is wrong, what to do.

use std::{
    fmt, io,
    net::{Ipv6Addr, UdpSocket},
};

/// Says whether this machine has IPv6 at all: some are started without, and some containers have none.
pub(crate) fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// Returns the text for an error of binding `address`, which came from the configuration key `key`.
pub(crate) fn failure(key: &str, address: impl fmt::Display, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!("another server on this port? set {key} to a free one"),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine does not have the address; set {key} to one that it has, or to a wildcard")
        }
        io::ErrorKind::PermissionDenied => {
            format!("low ports need a privilege; grant it, or set {key} to a port from 1024 on")
        }
        _ => format!("set {key} to an address that can be used"),
    };
    format!("{key}: cannot listen on {address} ({advice})")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn the_text_says_what_to_do() {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        for (kind, words) in [
            (io::ErrorKind::AddrInUse, "another server on this port"),
            (io::ErrorKind::AddrNotAvailable, "does not have the address"),
            (io::ErrorKind::PermissionDenied, "low ports need a privilege"),
            (io::ErrorKind::Other, "an address that can be used"),
        ] {
            let text = failure("sip.udp", address, &kind.into());
            assert!(
                text.starts_with("sip.udp: cannot listen on 192.0.2.1:80 ("),
                "{text}"
            );
            assert!(text.contains(words) && text.contains("set sip.udp to"), "{text}");
        }
    }
}
