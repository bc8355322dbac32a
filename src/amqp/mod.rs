//! Events to a message broker (AMQP 0-9-1), and commands from it where that is allowed.
//!
//! A [`collector`] takes the events from the bus into a bounded buffer and never waits: when the broker is away or slow for too long,
//! events are left out and counted, and no conference notices. A [`publisher`] owns the connection: it connects again with growing
//! pauses, publishes each event under both routing keys, and takes it as published once the broker has confirmed both. What was not
//! confirmed when a connection broke is published again, so an event may come twice, with the same `Msg-ID`, but none that found a
//! place in the buffer is lost while the server runs.
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | events for the broker | [`BUFFER`] | the event is left out, `confab_amqp_events_total{outcome="dropped"}` |
//! | dials of the broker | see [`commands`] | the command is refused |

mod commands;
mod payload;
mod publisher;
mod stats;

use std::sync::Arc;

use confab_api::CommandDesk;
use confab_api::event::{News, NewsSubscription};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use self::stats::AmqpStats;
use crate::config;

/// Events that may wait for the broker.
const BUFFER: usize = 10_000;

/// Starts publishing what `events` brings, and obeying commands if the configuration says so.
pub(crate) fn start(
    config: &config::Amqp,
    events: NewsSubscription,
    desk: CommandDesk,
    stats: &Arc<AmqpStats>,
) -> Vec<JoinHandle<()>> {
    let (sender, waiting) = mpsc::channel(BUFFER);
    let commands = config.commands.then(|| commands::Commands::new(desk, stats));
    let publisher = publisher::Publisher {
        url: config.url.clone(),
        waiting,
        unconfirmed: Vec::new(),
        commands,
        stats: Arc::clone(stats),
    };
    vec![
        tokio::spawn(collector(events, sender, Arc::clone(stats))),
        tokio::spawn(publisher.run()),
    ]
}

/// Takes events off the bus until it is gone.
async fn collector(mut events: NewsSubscription, buffer: mpsc::Sender<News>, stats: Arc<AmqpStats>) {
    while let Some(event) = events.recv().await {
        if buffer.try_send(event).is_err() && stats.dropped().is_power_of_two() {
            tracing::warn!("{BUFFER} events wait for the message broker: further ones are left out");
        }
    }
}
