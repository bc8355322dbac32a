//! Owns the way in: a request for a WebSocket, on any path, and who is refused one.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::sync::watch;

use super::connection::Connection;
use super::{MESSAGE, QUEUE};
use crate::state::ApiState;

/// What the configuration says about WebSockets.
#[derive(Clone, Debug)]
pub struct WebSocketConfig {
    /// Connections of one address; 0 sets no number.
    pub max_connections_per_ip: usize,
    /// How long nothing may come from a client.
    pub idle: Duration,
    /// Messages that may wait for one client.
    pub queue: usize,
    /// Becomes true when the server ends.
    pub stop: watch::Receiver<bool>,
}

impl WebSocketConfig {
    /// Returns the settings of a server that has not been told anything else: no limit by address, an hour of silence.
    pub fn new(stop: watch::Receiver<bool>) -> WebSocketConfig {
        WebSocketConfig {
            max_connections_per_ip: 0,
            idle: Duration::from_secs(3600),
            queue: QUEUE,
            stop,
        }
    }
}

/// Returns the router of a WebSocket address: every path is one. Serve it with the client's address
/// (`into_make_service_with_connect_info::<SocketAddr>()`).
pub fn router(state: ApiState, config: WebSocketConfig) -> Router {
    Router::new().fallback(any(upgrade)).with_state((state, config))
}

async fn upgrade(
    State((state, config)): State<(ApiState, WebSocketConfig)>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return (StatusCode::BAD_REQUEST, "no sub-protocol is spoken here").into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let Some(place) = state.sockets.enter(address, config.max_connections_per_ip) else {
        return (
            StatusCode::TOO_MANY_REQUESTS,
            "too many connections from this address",
        )
            .into_response();
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let connection = Connection::new(state, config, place, host.unwrap_or_default().to_owned());
    upgrade
        // Longer ones break the connection off; those a little too long are told so first.
        .max_message_size(4 * MESSAGE)
        .max_frame_size(4 * MESSAGE)
        .on_upgrade(move |socket| connection.run(socket))
}
