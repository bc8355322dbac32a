//! Owns one client's state: who he is and what he is bound to. Messages go in, replies come out; what has to be asked of others is
//! answered before ([`Facts`]) or done after ([`Step::Bind`]).

use std::collections::BTreeSet;

use confab_conference::{AccountId, InstanceId};
use serde_json::{Value, json};

use super::BINDINGS;
use super::binding::Binding;
use super::message::{Action, ClientMessage};
use crate::event::{After, Notice, Reach, Topic};

/// Whose conferences a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccountAsked {
    One(AccountId),
    All,
}

/// What others know about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// The client may act on the account that he names.
    pub(crate) may_act: bool,
}

/// What a message leads to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The reply.
    Reply(String),
    /// These are to be put on their topics; then [`Session::bound`] or [`Session::gone`] has the reply.
    Bind(Plan),
    /// Bindings are gone: [`Session::topics`] says what is still needed. Then the reply.
    Unbound(String),
}

/// Bindings that a client may have, and has not, or that are to begin anew.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) bindings: Vec<Binding>,
    pub(crate) after: Option<After>,
    request_id: Value,
}

/// A binding of a session.
#[derive(Debug)]
struct Bound {
    binding: Binding,
    topic: Topic,
    /// What a frame begins with.
    beginning: String,
    /// The last event that this binding does not get any more from its topic.
    covered: Option<After>,
}

/// One client's state.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The token that he showed last, and whose it is.
    login: Option<(String, AccountId)>,
    bound: Vec<Bound>,
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<Value>,
}

impl Session {
    /// Returns the account whose token the client showed.
    pub(crate) fn account(&self) -> Option<&AccountId> {
        self.login.as_ref().map(|(_, account)| account)
    }

    /// Returns the token that has to be looked at: one that the client has not shown before, and any with which he wants to see more.
    pub(crate) fn token_to_check<'a>(&self, message: &'a ClientMessage) -> Option<&'a str> {
        let token = message.token.as_deref()?;
        let is_known = self.login.as_ref().is_some_and(|(known, _)| known == token);
        (!is_known || message.action == Action::Subscribe).then_some(token)
    }

    /// Returns token and account by which a message asks for more without a token of its own. A token that has come to its
    /// end since is as good as ever here, but not one that was ended.
    pub(crate) fn login_to_check(&self, message: &ClientMessage) -> Option<(&str, &AccountId)> {
        let (token, account) = self.login.as_ref()?;
        let asks = message.token.is_none() && message.action == Action::Subscribe;
        asks.then_some((token, account))
    }

    /// Takes note that a token is good.
    pub(crate) fn logged_in(&mut self, token: &str, account: AccountId) {
        self.login = Some((token.to_owned(), account));
    }

    /// Returns the account that a message is about, which the client may have to have a right to.
    pub(crate) fn account_asked(&self, message: &ClientMessage) -> Option<AccountAsked> {
        if message.action != Action::Subscribe || self.login.is_none() {
            return None;
        }
        match message.text("account_id")? {
            "*" => Some(AccountAsked::All),
            id => Some(AccountAsked::One(AccountId::from(id))),
        }
    }

    /// Returns what a message leads to. `refused` is the token that was no good. `make_id` is asked for a request id when the client
    /// gave none.
    pub(crate) fn handle(
        &mut self,
        message: ClientMessage,
        refused: Option<&str>,
        facts: Facts,
        make_id: impl FnOnce() -> String,
    ) -> Step {
        let id = message
            .request_id
            .clone()
            .unwrap_or_else(|| Value::String(make_id()));
        if let Some(token) = refused {
            return failure(&id, &[format!("failed to authenticate token {token}")]);
        }
        if message.action == Action::Ping {
            return Step::Reply(success(&id, &json!({"response": "pong"})));
        }
        if self.login.is_none() {
            return failure(&id, &["authentication token required".into()]);
        }
        if let Some(name) = &message.name {
            self.name = Some(name.clone());
        }
        if let Some(metadata) = &message.metadata {
            self.metadata = Some(metadata.clone());
        }
        match message.action {
            Action::Subscribe => self.subscribe(&message, id, facts),
            Action::Unsubscribe if !message.has_data() => {
                let gone: Vec<Binding> = self.bound.drain(..).map(|bound| bound.binding).collect();
                self.unsubscribed(&id, &gone)
            }
            Action::Unsubscribe => self.unsubscribe(&message, &id),
            Action::Ping | Action::Other => Step::Reply(success(&id, &json!({}))),
        }
    }

    fn subscribe(&mut self, message: &ClientMessage, id: Value, facts: Facts) -> Step {
        let (account, texts) = match keys(message) {
            Ok(keys) => keys,
            Err(text) => return failure(&id, &[text]),
        };
        if !facts.may_act {
            let text = match account {
                None => "unauthorized wildcard account id",
                Some(_) => "unauthorized account id",
            };
            return failure(&id, &[text.into()]);
        }
        let mut errors = Vec::new();
        let mut wanted: Vec<Binding> = Vec::new();
        let after = after(message).unwrap_or_else(|text| {
            errors.push(text);
            None
        });
        for text in texts {
            match Binding::parse(text, account.clone()) {
                Ok(binding) if wanted.contains(&binding) => {}
                // Who asks for what was before gets it, whether he is bound already or not.
                Ok(binding) if after.is_none() && self.has(&binding) => {}
                Ok(binding) => wanted.push(binding),
                Err(error) => errors.push(error.to_string()),
            }
            if self.bound.len() + wanted.iter().filter(|wanted| !self.has(wanted)).count() > BINDINGS {
                errors.push(format!("too many bindings: a session has at most {BINDINGS}"));
                break;
            }
        }
        if after.is_some() && !wanted.iter().all(Binding::is_for_one_run) {
            errors.push("after needs bindings of one conference".into());
        }
        if !errors.is_empty() {
            return failure(&id, &errors);
        }
        Step::Bind(Plan {
            bindings: wanted,
            after,
            request_id: id,
        })
    }

    fn has(&self, binding: &Binding) -> bool {
        self.bound.iter().any(|bound| bound.binding == *binding)
    }

    /// Takes note that a plan's bindings are on their topics, each with the last event that it does not get from there. Returns the
    /// reply.
    pub(crate) fn bound(&mut self, plan: Plan, covered: Vec<Option<After>>) -> String {
        // One that was there begins anew.
        self.bound.retain(|bound| !plan.bindings.contains(&bound.binding));
        let bindings = plan.bindings.into_iter().zip(covered);
        self.bound.extend(bindings.map(|(binding, covered)| {
            let key = Value::from(binding.text());
            let subscription = Value::from(binding.subscription_key());
            Bound {
                topic: binding.topic(),
                beginning: format!(
                    "{{\"action\":\"event\",\"subscribed_key\":{key},\"subscription_key\":{subscription},"
                ),
                binding,
                covered,
            }
        }));
        success(&plan.request_id, &json!({"subscribed": self.texts()}))
    }

    /// Returns the reply to a plan whose events are not there any more. Nothing is bound.
    pub(crate) fn gone(plan: &Plan) -> String {
        error_reply(&plan.request_id, &["events no longer available".into()])
    }

    fn unsubscribe(&mut self, message: &ClientMessage, id: &Value) -> Step {
        let (account, texts) = match keys(message) {
            Ok(keys) => keys,
            Err(text) => return failure(id, &[text]),
        };
        let mut gone = Vec::new();
        let named = |bound: &mut Bound| {
            let binding = &bound.binding;
            binding.account() == account.as_ref() && texts.contains(&binding.text())
        };
        gone.extend(self.bound.extract_if(.., named).map(|bound| bound.binding));
        self.unsubscribed(id, &gone)
    }

    fn unsubscribed(&self, id: &Value, gone: &[Binding]) -> Step {
        let gone: BTreeSet<&str> = gone.iter().map(Binding::text).collect();
        let data = json!({"unsubscribed": gone, "subscribed": self.texts()});
        Step::Unbound(success(id, &data))
    }

    /// Returns the bindings as the client wrote them, none twice.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let mut texts: Vec<&str> = Vec::with_capacity(self.bound.len());
        for bound in &self.bound {
            if !texts.contains(&bound.binding.text()) {
                texts.push(bound.binding.text());
            }
        }
        texts
    }

    /// Returns how many bindings stay beside those of a plan, which come behind them.
    pub(crate) fn count_without(&self, plan: &Plan) -> usize {
        let stays = |bound: &&Bound| !plan.bindings.contains(&bound.binding);
        self.bound.iter().filter(stays).count()
    }

    /// Returns the topics that the bindings need.
    pub(crate) fn topics(&self) -> BTreeSet<Topic> {
        self.bound.iter().map(|bound| bound.topic.clone()).collect()
    }

    /// Returns the frames for a message that came by a topic: one for each binding that it matches.
    pub(crate) fn frames(&self, reach: Reach, notice: &Notice) -> Vec<String> {
        self.bound
            .iter()
            .filter(|bound| bound.topic.reach() == reach && !bound.has_had(notice))
            .filter(|bound| bound.binding.matches(notice))
            .map(|bound| bound.frame(notice))
            .collect()
    }

    /// Returns the frame for an event from before, for the binding of that number.
    pub(crate) fn frame_before(&self, number: usize, notice: &Notice) -> Option<String> {
        let bound = self.bound.get(number)?;
        bound.binding.matches(notice).then(|| bound.frame(notice))
    }
}

impl Bound {
    fn has_had(&self, notice: &Notice) -> bool {
        match (notice, &self.covered) {
            (Notice::Event(message), Some(covered)) => {
                let event = message.event();
                event.instance_id == covered.instance && event.sequence <= covered.sequence
            }
            _ => false,
        }
    }

    fn frame(&self, notice: &Notice) -> String {
        let ending = match notice {
            Notice::Event(message) => message.written().ending(),
            Notice::Command(message) => message.written().ending(),
            Notice::Registration(message) => message.written().ending(),
        };
        [self.beginning.as_str(), ending].concat()
    }
}

/// Whose conferences, `None` being everybody's, and the bindings as they were written.
type Keys<'a> = (Option<AccountId>, Vec<&'a str>);

/// Returns the keys that every subscription has.
fn keys(message: &ClientMessage) -> Result<Keys<'_>, String> {
    if !message.has_data() {
        return Err("missing required keys in data object".into());
    }
    let (account, texts) = (message.text("account_id"), message.bindings());
    match (account, texts) {
        (Some("*"), Some(texts)) => Ok((None, texts)),
        (Some(account), Some(texts)) => Ok((Some(AccountId::from(account)), texts)),
        (account, texts) => {
            let missing = [
                account.is_none().then_some("account_id"),
                texts.is_none().then_some("binding"),
            ];
            let missing: Vec<&str> = missing.into_iter().flatten().collect();
            Err(format!("missing required keys : {}", missing.join(", ")))
        }
    }
}

fn after(message: &ClientMessage) -> Result<Option<After>, String> {
    let Some(after) = message.data.as_ref().and_then(|data| data.get("after")) else {
        return Ok(None);
    };
    match (after["instance_id"].as_str(), after["sequence"].as_u64()) {
        (Some(instance), Some(sequence)) => Ok(Some(After {
            instance: InstanceId::from(instance),
            sequence,
        })),
        _ if after.is_null() => Ok(None),
        _ => Err("after needs instance_id and sequence".into()),
    }
}

fn failure(id: &Value, errors: &[String]) -> Step {
    Step::Reply(error_reply(id, errors))
}

pub(crate) fn error_reply(id: &Value, errors: &[String]) -> String {
    reply(id, "error", &json!({ "errors": errors }))
}

fn success(id: &Value, data: &Value) -> String {
    reply(id, "success", data)
}

fn reply(id: &Value, status: &str, data: &Value) -> String {
    json!({"action": "reply", "request_id": id, "status": status, "data": data}).to_string()
}
