//! OPTIONS outside of calls: answered as an INVITE to the same address would be (RFC 3261 §11.2).
//!
//! Looks at what [`super::set_up`] would ask for, in its order, and takes nothing of it.

use confab_conference::Entry;
use confab_sip::{Flow, HeaderName, Request, StatusCode};

use super::{CallServer, Refused, identity::identify, set_up};
use crate::{
    admission::RETRY_AFTER_S,
    reception,
    signalling::{
        endpoint::{Command, Query},
        routing,
    },
};

/// Answers one question.
pub(crate) async fn answer(server: &CallServer, query: Query) {
    let Query { query, request, flow } = query;
    let refusal = judge(server, &request, flow)
        .await
        .err()
        .map(Refused::into_rejection);
    server.endpoint.send(Command::AnswerOptions(query, refusal)).await;
}

async fn judge(server: &CallServer, request: &Request, flow: Flow) -> Result<(), Refused> {
    if let Some(overload) = server.admission.overload() {
        return Err(set_up::overloaded(overload));
    }
    let (store, local) = (&server.store, &server.local);
    let known = identify(server, request, flow).await?;
    let (anonymous, service_numbers) = (server.anonymous_dial_in, &server.service_numbers);
    let routed = routing::route(store, local, anonymous, known, service_numbers, request).await;
    let destination = match routed {
        Ok(reached) => reached.destination,
        // Without a number the question is whether this server serves at all: what load balancers ask.
        Err(routing::RoutingError::NoNumber) => {
            let known = routing::serves_host(store, local, request).await;
            known.map_err(|error| set_up::refused_route(&error))?;
            None
        }
        Err(error) => return Err(set_up::refused_route(&error)),
    };
    if server.media.ports_exhausted() {
        tracing::debug!(?flow.remote, "no media port is free");
        return Err(
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, "no media resources left")
                .with_header(HeaderName::RetryAfter, RETRY_AFTER_S.to_string()),
        );
    }
    if let Some(to) = destination {
        let admitted = server.registry.admits(&to.account, &to.conference, Entry::DialIn);
        match admitted.await {
            // Who calls a locked or full conference is answered, and told.
            Err(refusal) if reception::refused(refusal).is_some() => {}
            outcome => outcome.map_err(set_up::refused_by_conference)?,
        }
    }
    Ok(())
}
