//! Commands from the broker: read, translated and carried out one after the other, but for dials, which ring beside the others. Decides
//! nothing about conferences: the same typed commands as over HTTP do.
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | dials under way | [`DIALS`] | the command is refused |

use std::sync::Arc;

use confab_api::{BrokerCommand, CommandDesk};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer, Error};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::payload::normalized;
use super::publisher::{EXCHANGE, Failure};
use super::stats::AmqpStats;

/// A message is no larger.
const LARGEST: usize = 65_536;

/// Dials of the broker that ring at a time; each account has its own limits beside (`[outbound]`).
const DIALS: usize = 256;

/// Who obeys.
#[derive(Clone)]
pub(super) struct Commands {
    desk: CommandDesk,
    stats: Arc<AmqpStats>,
    /// Places of dials.
    dials: Arc<Semaphore>,
}

impl Commands {
    pub(super) fn new(desk: CommandDesk, stats: &Arc<AmqpStats>) -> Commands {
        Commands {
            desk,
            stats: Arc::clone(stats),
            dials: Arc::new(Semaphore::new(DIALS)),
        }
    }

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
            commands: self.clone(),
            under_way: None,
        })
    }
}

/// The commands of one connection.
pub(super) struct Listening {
    consumer: Consumer,
    commands: Commands,
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
                    let commands = self.commands.clone();
                    let command = async move { commands.carry_out(&delivery.data).await };
                    self.under_way = Some(tokio::spawn(command));
                }
                Some(Err(error)) => return error.into(),
                None => return Failure::Closed,
            }
        }
    }
}

impl Commands {
    /// Carries a message's command out, or begins to when it is a lengthy one.
    async fn carry_out(self, message: &[u8]) {
        let command = match read(message).and_then(BrokerCommand::read) {
            Ok(command) => command,
            Err(why) => return self.over(Err(why)),
        };
        if !command.is_lengthy() {
            let outcome = command.carry_out(&self.desk).await;
            return self.over(outcome);
        }
        let Ok(place) = Arc::clone(&self.dials).try_acquire_owned() else {
            return self.over(Err(format!("{DIALS} dials are under way")));
        };
        tokio::spawn(async move {
            let outcome = command.carry_out(&self.desk).await;
            self.over(outcome);
            drop(place);
        });
    }

    fn over(&self, outcome: Result<(), String>) {
        self.stats.command(outcome.is_ok());
        if let Err(why) = outcome {
            tracing::debug!(why, "a command of the message broker was not carried out");
        }
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
