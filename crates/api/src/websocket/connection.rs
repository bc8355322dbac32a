//! One client's task: reads his frames, asks for what the session has to know, writes replies and events, ends what is too slow,
//! silent or told to end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use confab_conference::{AccountId, GregorianSeconds};
use futures_util::SinkExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::message::ClientMessage;
use super::session::{AccountAsked, Facts, Plan, Session, Step, error_reply};
use super::sessions::Place;
use super::upgrade::WebSocketConfig;
use super::{MESSAGE, WRITE_TIMEOUT};
use crate::event::{EventMessage, Mailbox, Notice, Reach, Topic};
use crate::rate_limit::REQUEST_COST;
use crate::rights::Rights;
use crate::state::ApiState;
use crate::token::random_text;

/// Frames written before the socket is asked to take them.
const BATCH: usize = 64;
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Try again later (the IANA registry of close codes).
const TRY_AGAIN_LATER: u16 = 1013;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Gone,
    TooSlow,
    Idle,
    TooLarge,
    NoText,
    Stopped,
}

impl End {
    /// Returns what the client is told.
    fn words(self) -> Option<(u16, &'static str)> {
        match self {
            End::Gone => None,
            End::TooSlow => Some((
                TRY_AGAIN_LATER,
                "events were missed: too slow; connect again and subscribe with after",
            )),
            End::Idle => Some((close_code::NORMAL, "nothing came for too long")),
            End::TooLarge => Some((close_code::SIZE, "message too large")),
            End::NoText => Some((close_code::UNSUPPORTED, "text frames only")),
            End::Stopped => Some((close_code::AWAY, "server shutting down")),
        }
    }
}

/// One client.
pub(super) struct Connection {
    state: ApiState,
    config: WebSocketConfig,
    place: Place,
    host: String,
    since: GregorianSeconds,
    session: Session,
    /// Those of the last login.
    rights: Rights,
    mailbox: Arc<Mailbox>,
    queue: mpsc::Receiver<(Reach, Notice)>,
    topics: BTreeSet<Topic>,
}

impl Connection {
    pub(super) fn new(state: ApiState, config: WebSocketConfig, place: Place, host: String) -> Connection {
        let (mailbox, queue) = Mailbox::new(config.queue);
        Connection {
            since: state.clock.gregorian(),
            state,
            config,
            place,
            host,
            session: Session::default(),
            rights: Rights::User,
            mailbox,
            queue,
            topics: BTreeSet::new(),
        }
    }

    /// Serves the client until he goes or has to go.
    pub(super) async fn run(mut self, mut socket: WebSocket) {
        self.show();
        let end = self.serve(&mut socket).await;
        for topic in &self.topics {
            self.state.events.leave(topic, &self.mailbox);
        }
        tracing::debug!(?end, "a WebSocket session is over");
        if let Some((code, reason)) = end.words() {
            let reason = reason.into();
            let close = socket.send(Message::Close(Some(CloseFrame { code, reason })));
            // Who takes nothing is not waited for.
            let _ = timeout(LAST_WORDS, close).await;
        }
    }

    async fn serve(&mut self, socket: &mut WebSocket) -> End {
        let mut stop = self.config.stop.clone();
        let mut idle = Instant::now() + self.config.idle;
        loop {
            let step = tokio::select! {
                () = stopped(&mut stop) => Err(End::Stopped),
                () = self.mailbox.overrun() => Err(End::TooSlow),
                received = socket.recv() => {
                    idle = Instant::now() + self.config.idle;
                    match received {
                        None | Some(Err(_)) => Err(End::Gone),
                        Some(Ok(message)) => self.received(socket, message).await,
                    }
                }
                Some(first) = self.queue.recv() => self.deliver(socket, first).await,
                () = tokio::time::sleep_until(idle) => Err(End::Idle),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn received(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) if text.len() <= MESSAGE => text,
            Message::Text(_) => return Err(End::TooLarge),
            Message::Binary(_) => return Err(End::NoText),
            // Answered below this. Nothing more is read before the answer is taken, or answers would pile up without bound.
            Message::Ping(_) => return self.write(socket, std::iter::empty()).await,
            // After a close nothing more comes.
            Message::Pong(_) | Message::Close(_) => return Ok(()),
        };
        let (reply, before) = self.answer(&text).await;
        self.show();
        let before = before.into_iter().filter_map(|(binding, message)| {
            let notice = Notice::Event(message);
            self.session.frame_before(binding, &notice)
        });
        self.write(socket, std::iter::once(reply).chain(before)).await
    }

    /// Returns the reply to a message, and the events from before that the client asked for, each with the number of the binding.
    async fn answer(&mut self, text: &str) -> (String, Vec<(usize, Arc<EventMessage>)>) {
        let message = ClientMessage::parse(text);
        let account = self.session.account().cloned();
        let limits = &self.state.limits;
        let now = self.state.clock.monotonic();
        if limits
            .take(now, Some(self.place.ip()), account.as_ref(), REQUEST_COST)
            .is_err()
        {
            let id = message.request_id.unwrap_or_else(|| new_id().into());
            let reply = error_reply(&id, &["rate limiting threshold hit".into()]);
            return (reply, Vec::new());
        }
        let mut refused = None;
        if let Some(token) = self.session.token_to_check(&message) {
            match self.state.tokens.identify(now, token) {
                Ok(identity) if self.is_enabled(&identity.account).await => {
                    self.rights = identity.rights;
                    self.session.logged_in(token, identity.account);
                }
                _ => refused = Some(token.to_owned()),
            }
        }
        if let Some((token, account)) = self.session.login_to_check(&message)
            && (self.state.tokens.is_revoked(token) || !self.is_enabled(account).await)
        {
            refused = Some(token.to_owned());
        }
        let facts = Facts {
            may_act: refused.is_none() && self.may_act(&message).await,
        };
        match self.session.handle(message, refused.as_deref(), facts, new_id) {
            Step::Reply(reply) => (reply, Vec::new()),
            Step::Bind(plan) => self.bind(plan),
            Step::Unbound(reply) => {
                self.leave_unneeded();
                (reply, Vec::new())
            }
        }
    }

    /// Returns whether the account is there and not switched off.
    async fn is_enabled(&self, account: &AccountId) -> bool {
        let account = self.state.store.account(account).await;
        let account = account.unwrap_or_else(|error| {
            tracing::warn!(%error, "an account could not be looked up");
            None
        });
        account.is_some_and(|account| account.enabled)
    }

    async fn may_act(&self, message: &ClientMessage) -> bool {
        let (Some(own), Some(asked)) = (self.session.account(), self.session.account_asked(message)) else {
            return false;
        };
        let store = &self.state.store;
        let answer = match asked {
            // Who is no administrator sees his own account alone.
            AccountAsked::One(account) if self.rights == Rights::User => Ok(account == *own),
            AccountAsked::All if self.rights == Rights::User => Ok(false),
            AccountAsked::One(account) => store.may_act_on(own, &account).await,
            AccountAsked::All => store
                .bootstrap_account()
                .await
                .map(|master| master.is_some_and(|master| master.id == *own)),
        };
        answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "who may see what could not be looked up");
            false
        })
    }

    /// Puts the bindings on their topics, all or none.
    fn bind(&mut self, plan: Plan) -> (String, Vec<(usize, Arc<EventMessage>)>) {
        let mut covered = Vec::with_capacity(plan.bindings.len());
        let mut before = Vec::new();
        let first = self.session.count_without(&plan);
        for binding in &plan.bindings {
            let topic = binding.topic();
            let joined = self.state.events.join(&topic, &self.mailbox, plan.after.as_ref());
            let Ok(joined) = joined else {
                self.leave_unneeded();
                return (Session::gone(&plan), Vec::new());
            };
            self.topics.insert(topic);
            covered.push(joined.covered);
            // Each binding has the events up to where its own joining found the topic.
            let number = first + covered.len() - 1;
            before.extend(joined.backlog.into_iter().map(|message| (number, message)));
        }
        (self.session.bound(plan, covered), before)
    }

    fn leave_unneeded(&mut self) {
        let needed = self.session.topics();
        for topic in self.topics.difference(&needed) {
            self.state.events.leave(topic, &self.mailbox);
        }
        self.topics = needed;
    }

    /// Writes a message and those that wait behind it.
    async fn deliver(&mut self, socket: &mut WebSocket, first: (Reach, Notice)) -> Result<(), End> {
        let mut frames = self.session.frames(first.0, &first.1);
        while frames.len() < BATCH
            && let Ok((reach, notice)) = self.queue.try_recv()
        {
            frames.extend(self.session.frames(reach, &notice));
        }
        self.write(socket, frames).await
    }

    async fn write(
        &self,
        socket: &mut WebSocket,
        frames: impl IntoIterator<Item = String>,
    ) -> Result<(), End> {
        let mut stop = self.config.stop.clone();
        let writing = async {
            for frame in frames {
                socket.feed(Message::Text(frame.into())).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            biased;
            written = writing => written.map_err(|_| End::Gone),
            () = stopped(&mut stop) => Err(End::Stopped),
            () = self.mailbox.overrun() => Err(End::TooSlow),
            () = tokio::time::sleep(WRITE_TIMEOUT) => Err(End::TooSlow),
        }
    }

    fn show(&self) {
        self.place.show(&self.session, &self.host, self.since);
    }
}

/// Waits for the end of the server.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn new_id() -> String {
    random_text()[..32].to_owned()
}
