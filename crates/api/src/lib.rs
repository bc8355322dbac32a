//! The HTTP interface: envelope, authentication, resources.

mod health;
mod live;
mod rate_limit;
mod state;
mod token;

pub use health::admin_router;
pub use live::{ControlError, LiveConferences};
pub use state::{ApiConfig, ApiState, Clock, Probes, Readiness, SystemClock};

/// Returns the router of the public address.
pub fn router(state: ApiState) -> axum::Router {
    health::routes().with_state(state)
}
