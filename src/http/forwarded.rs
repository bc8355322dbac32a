//! Who a client is behind proxies that the operator trusts. Never believes anybody else about that.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::HeaderMap,
    middleware::{self, Next},
};

use crate::config::IpNetwork;

/// The header in which each proxy notes at the end whom it has asked for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Has the routes see the client's own address where a request comes from one of `trusted`.
pub(super) fn behind(trusted: &[IpNetwork], router: Router) -> Router {
    if trusted.is_empty() {
        return router;
    }
    let trusted: Arc<[IpNetwork]> = trusted.into();
    router.layer(middleware::from_fn(move |mut request: Request, next: Next| {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().copied();
        if let Some(ConnectInfo(peer)) = peer {
            let client = client(peer, request.headers(), &trusted);
            request.extensions_mut().insert(ConnectInfo(client));
        }
        next.run(request)
    }))
}

/// Returns who asks: the last one on the way that is no trusted proxy. What is before him in the header is his own word.
fn client(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNetwork]) -> SocketAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut before = lines
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
        .map(str::trim);
    let mut client = peer;
    while is_trusted(client.ip()) {
        match before.next().and_then(address) {
            Some(next) => client = next,
            None => break,
        }
    }
    client
}

/// Reads an address, with or without a port.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let alone = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    alone.or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_whom_the_last_trusted_proxy_names() {
        let trusted = ["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let rows: [(&str, &[&str], &str); 11] = [
            ("192.0.2.1:5", &[], "192.0.2.1:5"),
            ("192.0.2.1:5", &["198.51.100.1"], "192.0.2.1:5"),
            ("127.0.0.1:5", &[], "127.0.0.1:5"),
            ("127.0.0.1:5", &["198.51.100.1"], "198.51.100.1:0"),
            ("127.0.0.1:5", &["203.0.113.9, 198.51.100.1"], "198.51.100.1:0"),
            (
                "127.0.0.1:5",
                &["203.0.113.9", "198.51.100.1,10.1.1.1"],
                "198.51.100.1:0",
            ),
            ("127.0.0.1:5", &["198.51.100.1:44"], "198.51.100.1:44"),
            ("[::ffff:10.0.0.1]:5", &["2001:db8::1"], "[2001:db8::1]:0"),
            ("127.0.0.1:5", &["[2001:db8::1]:9, 10.0.0.1"], "[2001:db8::1]:9"),
            ("127.0.0.1:5", &["198.51.100.1, unknown"], "127.0.0.1:5"),
            ("127.0.0.1:5", &["198.51.100.1, "], "127.0.0.1:5"),
        ];
        for (peer, lines, expected) in rows {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            let found = client(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse().unwrap(), "{peer} {lines:?}");
        }
    }
}
