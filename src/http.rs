//! HTTP listeners: binds addresses and serves a router until told to stop.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Binds one address. `key` names the configuration key for the error text.
///
/// # Errors
/// The address is in use or not of this machine; the text says which one and what to do.
pub(crate) async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key}: cannot listen on {address} (another server on this port? set {key} to a free one)")
    })
}

/// Serves `router` until `stop` becomes true; requests under way are finished.
pub(crate) fn serve(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
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
