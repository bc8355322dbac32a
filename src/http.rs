//! HTTP listeners, with and without TLS: binds addresses and serves a router until told to stop.

mod forwarded;
mod limited;
mod tls;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    serve::{Listener, ListenerExt as _},
};
use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub(crate) use self::limited::Limits;

use self::{limited::Limited, tls::TlsListener};
use crate::{config::IpNetwork, listen};

/// What is offered in a TLS handshake (RFC 7301). HTTP/2 is left to proxies: its streams would multiply what one connection
/// may ask for, and no client of this API needs it.
pub(crate) const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// Binds one address. `key` names the configuration key for the error text.
///
/// # Errors
/// The address is in use or not of this machine; the text says which one and what to do.
pub(crate) async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        let text = listen::failure(key, address, &error);
        anyhow::Error::new(error).context(text)
    })
}

/// Serves `router` until `stop` becomes true, over TLS where that is given; requests under way are finished. Of clients behind
/// `proxies` the routes see their own addresses.
pub(crate) fn serve(
    listener: TcpListener,
    limits: Limits,
    tls: Option<Arc<ServerConfig>>,
    proxies: &[IpNetwork],
    router: Router,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let router = forwarded::behind(proxies, router);
    let listener = Limited::new(listener, limits);
    match tls {
        Some(tls) => serve_on(TlsListener::new(listener, tls), router, stop),
        None => serve_on(listener, router, stop),
    }
}

fn serve_on<L: Listener<Addr = SocketAddr>>(
    listener: L,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    // The tap lets the service know its peer.
    let listener = listener.tap_io(|_| ());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(listener, service)
            .with_graceful_shutdown(stopped)
            .await
        {
            tracing::error!(%error, "an HTTP listener ended");
        }
    })
}
