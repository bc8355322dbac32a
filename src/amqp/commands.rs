//! Commands from the broker: read, translated and carried out one after the other. Decides nothing about conferences: the same
//! typed commands as over HTTP do.

use std::sync::Arc;

use confab_api::{BrokerCommand, LiveConferences};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer, Error};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::payload::normalized;
use super::publisher::{EXCHANGE, Failure};
use super::stats::AmqpStats;

/// A message is no larger.
const LARGEST: usize = 65_536;

/// Who obeys.
pub(super) struct Commands {
    pub(super) conferences: Arc<dyn LiveConferences>,
    pub(super) stats: Arc<AmqpStats>,
}

impl Commands {
    /// Listens for commands on a queue of this server's own, which goes with the connection.
    pub(super) async fn listen(&self, connection: &Connection) -> Result<Listening, Error> {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), options, FieldTable::default())
            .await?;
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                EXCHANGE.into(),
                "conference.command.*".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel
            .basic_consume(name, "".into(), options, FieldTable::default())
            .await?;
        Ok(Listening {
            consumer,
            conferences: Arc::clone(&self.conferences),
            stats: Arc::clone(&self.stats),
            under_way: None,
        })
    }
}

/// The commands of one connection.
pub(super) struct Listening {
    consumer: Consumer,
    conferences: Arc<dyn LiveConferences>,
    stats: Arc<AmqpStats>,
    /// The command that is being carried out.
    under_way: Option<JoinHandle<()>>,
}

impl Listening {
    /// Obeys until the connection breaks, and says why. Cancel-safe: a command that has begun is carried out to its end, before the
    /// next one.
    pub(super) async fn obey(&mut self) -> Failure {
        loop {
            if let Some(command) = &mut self.under_way {
                let _ = command.await;
                self.under_way = None;
            }
            match self.consumer.next().await {
                Some(Ok(delivery)) => {
                    let conferences = Arc::clone(&self.conferences);
                    let stats = Arc::clone(&self.stats);
                    let command = async move { carry_out(&*conferences, &stats, &delivery.data).await };
                    self.under_way = Some(tokio::spawn(command));
                }
                Some(Err(error)) => return error.into(),
                None => return Failure::Closed,
            }
        }
    }
}

async fn carry_out(conferences: &dyn LiveConferences, stats: &AmqpStats, message: &[u8]) {
    let outcome = match read(message).and_then(BrokerCommand::read) {
        Ok(command) => command.carry_out(conferences).await,
        Err(why) => Err(why),
    };
    stats.command(outcome.is_ok());
    if let Err(why) = outcome {
        tracing::debug!(why, "a command of the message broker was not carried out");
    }
}

fn read(message: &[u8]) -> Result<Map<String, Value>, String> {
    if message.len() > LARGEST {
        return Err(format!("it has more than {LARGEST} octets"));
    }
    match serde_json::from_slice(message) {
        Ok(Value::Object(keys)) => Ok(normalized(keys)),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}
