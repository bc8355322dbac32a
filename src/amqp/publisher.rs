//! The connection to the broker. Owns it, and what was sent over it without being confirmed yet.

use std::sync::Arc;
use std::time::Duration;

use confab_api::event::News;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Error, ExchangeKind};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::commands::Commands;
use super::payload::titled;
use super::stats::AmqpStats;
use crate::config::Secret;

/// The exchange of everything about conferences.
pub(super) const EXCHANGE: &str = "conference";

/// Pauses between attempts to connect: the first, doubled each time up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What consumers have time for to bind their queues when the exchange was not there.
const REBINDING: Duration = Duration::from_secs(5);

/// Time for a connection to be there, and for a batch to be confirmed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events published before the broker's confirmations are waited for.
const BATCH: usize = 64;

pub(super) struct Publisher {
    pub(super) url: Secret,
    pub(super) waiting: mpsc::Receiver<News>,
    /// Sent, or about to be.
    pub(super) unconfirmed: Vec<News>,
    pub(super) commands: Option<Commands>,
    pub(super) stats: Arc<AmqpStats>,
}

impl Publisher {
    /// Runs until no more events can come.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout(PATIENCE, connect(&self.url)).await {
                Ok(Ok(broker)) => {
                    tracing::info!("connected to the message broker");
                    self.stats.set_connected(true);
                    pause = FIRST_PAUSE;
                    let outcome = self.serve(&broker).await;
                    self.stats.set_connected(false);
                    match outcome {
                        Ok(()) => return close(broker).await,
                        Err(error) => tracing::warn!(%error, "the connection to the message broker broke"),
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "no connection to the message broker"),
                Err(_) => tracing::warn!("the message broker does not answer"),
            }
            self.stats.connection_failed();
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Publishes until the connection breaks, or no more events can come.
    async fn serve(&mut self, broker: &Broker) -> Result<(), Failure> {
        let mut commands = match &self.commands {
            Some(commands) => Some(commands.listen(&broker.connection).await?),
            None => None,
        };
        loop {
            if self.unconfirmed.is_empty() {
                let commands = async {
                    match &mut commands {
                        Some(commands) => commands.obey().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    count = self.waiting.recv_many(&mut self.unconfirmed, BATCH) => {
                        if count == 0 {
                            return Ok(());
                        }
                    }
                    failure = commands => return Err(failure),
                    () = broker.broken() => return Err(Failure::Closed),
                }
            }
            timeout(PATIENCE, broker.publish(&self.unconfirmed))
                .await
                .map_err(|_| Failure::Silent)??;
            self.stats.published(self.unconfirmed.len());
            self.unconfirmed.clear();
        }
    }
}

/// Why a connection is not used any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Broker(#[from] Error),
    #[error("an event was not taken")]
    NotTaken,
    #[error("events were not confirmed within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("it was closed")]
    Closed,
}

/// A connection, ready to publish on.
struct Broker {
    connection: Connection,
    channel: Channel,
}

async fn connect(url: &Secret) -> Result<Broker, Error> {
    let properties = ConnectionProperties::default().with_connection_name("confab".into());
    let connection = Connection::connect(&url.0, properties).await?;
    let channel = connection.create_channel().await?;
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    // One that is there may have been declared otherwise, which is none of our business.
    let known = declare(&channel, passive).await;
    let channel = match known {
        Ok(()) => channel,
        // The broker closes the channel on which it was asked for what there is not.
        Err(_) => {
            let channel = connection.create_channel().await?;
            // Not durable: KAZOO's clients declare it so, and a broker refuses whoever declares it otherwise than it is.
            declare(&channel, ExchangeDeclareOptions::default()).await?;
            // It may have gone with a restart of the broker, and what consumers had bound to it too: they are given time to come back,
            // while events wait.
            sleep(REBINDING).await;
            channel
        }
    };
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(Broker { connection, channel })
}

async fn declare(channel: &Channel, options: ExchangeDeclareOptions) -> Result<(), Error> {
    let (name, kind) = (EXCHANGE.into(), ExchangeKind::Topic);
    channel
        .exchange_declare(name, kind, options, FieldTable::default())
        .await
}

async fn close(broker: Broker) {
    // The server is ending: a broker that is gone need not be told.
    let _ = timeout(Duration::from_secs(1), broker.connection.close(200, "bye".into())).await;
}

impl Broker {
    /// Publishes events under each of their keys and waits until the broker has taken them.
    async fn publish(&self, events: &[News]) -> Result<(), Failure> {
        let mut sent = Vec::with_capacity(2 * events.len());
        for event in events {
            let body = titled(event.value()).to_string();
            let properties = BasicProperties::default()
                .with_content_type("application/json".into())
                .with_message_id(event.id().into())
                .with_app_id("confab".into());
            for key in event.routing_keys() {
                let publishing = self.channel.basic_publish(
                    EXCHANGE.into(),
                    key.into(),
                    BasicPublishOptions::default(),
                    body.as_bytes(),
                    properties.clone(),
                );
                sent.push(publishing.await?);
            }
        }
        for confirmation in sent {
            if confirmation.await?.is_nack() {
                return Err(Failure::NotTaken);
            }
        }
        Ok(())
    }

    /// Waits until the connection is there no more. The library tells it by its status only.
    async fn broken(&self) {
        while self.connection.status().connected() && self.channel.status().connected() {
            sleep(Duration::from_millis(500)).await;
        }
    }
}
