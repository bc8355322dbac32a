//! HTTP listeners: binds addresses and serves a router until told to stop.

mod limited;

use std::net::SocketAddr;

use axum::{Router, serve::ListenerExt as _};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub(crate) use self::limited::Limits;

use self::limited::Limited;
use crate::listen;

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

/// Serves `router` until `stop` becomes true; requests under way are finished.
pub(crate) fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // The tap lets the service know its peer.
    let listener = Limited::new(listener, limits).tap_io(|_| ());
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
