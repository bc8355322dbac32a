//! Who watches conferences: subscriptions to the event package `conference` (RFC 4575).
//!
//! Owns who may watch (devices of the account that have shown who they are), and when a watcher is told: everything at first and at each
//! refresh, then what has changed, not more often than every five seconds, and the end. SIP's part is the endpoint's, the text
//! [`document`]'s. One task; a watcher costs it a look at his conference when something has happened there.

mod document;

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use confab_api::event::Subscription as Events;
use confab_conference::{AccountId, ConferenceId, EventKind};
use confab_documents::is_id;
use confab_sip::{
    Body, EventPackage, Flow, HeaderName, LocalContact, QueryKey, Rejection, Request, SipScheme, StatusCode,
    SubscriptionEnd, SubscriptionKey, SubscriptionState,
};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use self::document::{KIND, Subject, View, entity_of};
use super::call::{CallServer, Refused, authorize_watcher};
use super::endpoint::{Command, EndpointHandle};
use super::routing::{self, RoutingError};
use crate::admission::RETRY_AFTER_S;
use crate::registrar::devices::DeviceKey;

/// RFC 4575 §3.10: a watcher is told no more often.
const BETWEEN: Duration = Duration::from_secs(5);
/// The endpoint agrees to an hour at most.
const LONGEST: Duration = Duration::from_secs(3700);
/// How often it is looked whether somebody is to be told.
const LOOK: Duration = Duration::from_millis(200);
/// SUBSCRIBEs whose senders are looked up at a time; more wait.
const AT_A_TIME: usize = 32;
/// SUBSCRIBEs that wait for that; more are refused.
const MOST_WAITING: usize = 256;
/// The endpoint agrees to a minute at least, seconds.
const SHORTEST_S: u32 = 60;
/// Subscriptions of one device.
const OF_ONE_DEVICE: usize = 16;

/// What the endpoint tells of subscriptions.
pub(super) enum Watching {
    /// Somebody wants to watch.
    Asked {
        query: QueryKey,
        request: Box<Request>,
        flow: Flow,
    },
    /// He goes on, and is to be told everything.
    Refreshed(SubscriptionKey),
    /// He has taken what he was told.
    Notified(SubscriptionKey),
    /// He is to be told the end, unless he is lost.
    Ends(SubscriptionKey, SubscriptionEnd),
}

/// Whom somebody may watch.
struct Admitted {
    device: DeviceKey,
    conference: (AccountId, ConferenceId),
    subject: Subject,
    contact: LocalContact,
    is_once: bool,
}

struct Watcher {
    admitted: Admitted,
    /// What he was told last.
    told: View,
    version: u32,
    /// He has not taken it yet.
    is_busy: bool,
    /// Something has happened since.
    is_behind: bool,
    /// He wants everything.
    wants_all: bool,
    next: Instant,
    /// Nobody watches longer without a refresh.
    until: Instant,
}

struct Watchers {
    server: Weak<CallServer>,
    endpoint: EndpointHandle,
    all: HashMap<SubscriptionKey, Watcher>,
    /// Who watches a conference of this id, whichever account's it is.
    of: HashMap<ConferenceId, HashSet<SubscriptionKey>>,
}

/// What can be subscribed to.
pub(crate) fn package() -> EventPackage {
    EventPackage {
        name: "conference".to_owned(),
        content_type: KIND.to_owned(),
    }
}

/// Serves watchers until the endpoint or the bus is gone.
pub(super) fn start(
    server: &Arc<CallServer>,
    mut asked: mpsc::Receiver<Watching>,
    mut events: Events,
) -> JoinHandle<()> {
    let mut watchers = Watchers {
        server: Arc::downgrade(server),
        endpoint: server.endpoint.clone(),
        all: HashMap::new(),
        of: HashMap::new(),
    };
    tokio::spawn(async move {
        let mut waiting = VecDeque::new();
        let mut judging = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = asked.recv() => match told {
                    Some(Watching::Asked { query, request, flow }) if waiting.len() < MOST_WAITING => {
                        waiting.push_back((query, request, flow));
                    }
                    Some(Watching::Asked { query, .. }) => watchers.refuse(query, busy()).await,
                    Some(news) => watchers.hear(news).await,
                    None => return,
                },
                event = events.recv() => match event {
                    Some(event) => {
                        let event = event.event();
                        watchers.happened(&event.account, &event.conference, event.kind);
                    }
                    None => return,
                },
                Some(judged) = judging.join_next(), if !judging.is_empty() => {
                    if let Ok((query, verdict)) = judged {
                        watchers.judged(query, verdict).await;
                    }
                }
                _ = look.tick(), if !watchers.all.is_empty() => watchers.tell_all().await,
            }
            while judging.len() < AT_A_TIME
                && let Some((query, request, flow)) = waiting.pop_front()
            {
                let server = watchers.server.clone();
                judging.spawn(async move {
                    let judged = async {
                        match server.upgrade() {
                            Some(server) => judge(&server, &request, flow).await,
                            None => Err(refused_for_now()),
                        }
                    };
                    // Whatever happens, the question is answered: the endpoint keeps it until then.
                    let judged = AssertUnwindSafe(judged).catch_unwind().await;
                    let verdict = judged.unwrap_or_else(|_| Err(refused_for_now()));
                    (query, verdict)
                });
            }
        }
    })
}

fn refused_for_now() -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "not now")
        .with_header(HeaderName::RetryAfter, RETRY_AFTER_S.to_string())
}

fn busy() -> Rejection {
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE)
        .with_header(HeaderName::RetryAfter, RETRY_AFTER_S.to_string())
}

/// A device that watches as much as it may: a place is free when one of its subscriptions is over, a minute from now at the earliest.
fn too_many() -> Rejection {
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE)
        .with_header(HeaderName::RetryAfter, SHORTEST_S.to_string())
        .with_header(
            HeaderName::Warning,
            format!("399 confab \"{OF_ONE_DEVICE} subscriptions are the most\""),
        )
}

/// Says what the sender of a SUBSCRIBE may watch.
async fn judge(server: &CallServer, request: &Request, flow: Flow) -> Result<Admitted, Refused> {
    let refused = |error: RoutingError| super::call::refused_route(&error);
    let uri = request
        .uri
        .as_sip()
        .ok_or_else(|| refused(RoutingError::NoNumber))?;
    let device = authorize_watcher(server, request, flow, uri).await?;
    let account_id = device.key.account.clone();
    let store_failed = |error| refused(RoutingError::Store(error));
    let account = server.store.account(&account_id).await.map_err(store_failed)?;
    let account = account
        .filter(|account| account.enabled)
        .ok_or_else(|| refused(RoutingError::Disabled))?;
    let user = uri.user_decoded().filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| refused(RoutingError::NoNumber))?;
    let user = user.to_str_lossy().into_owned();
    let store = &server.store;
    let (conference, name) = if is_id(&user) {
        // What our own Contact in calls that are placed is.
        let id = ConferenceId::from(user.as_str());
        let found = store.conference(&account_id, &id).await.map_err(store_failed)?;
        let found = found.ok_or_else(|| refused(RoutingError::UnknownNumber))?;
        let name = found.body.get("name").and_then(|name| name.as_str());
        (id, name.unwrap_or_default().to_owned())
    } else {
        let configuration = store
            .conferences_configuration(&account_id)
            .await
            .map_err(store_failed)?;
        let plan = confab_documents::DialPlan::of(configuration.as_ref(), &account.language);
        let forms = plan.forms(&user);
        let found = routing::conference(store, &account_id, &account.language, &forms).await;
        let found = found.map_err(store_failed)?;
        let found = found.ok_or_else(|| refused(RoutingError::UnknownNumber))?;
        (found.conference, found.settings.name)
    };
    Ok(Admitted {
        device: device.key.clone(),
        conference: (account_id, conference),
        subject: Subject {
            entity: entity_of(uri),
            name,
            realm: account.realm,
        },
        contact: LocalContact {
            user: Some(user),
            is_focus: true,
            is_secure: uri.scheme == SipScheme::Sips,
        },
        is_once: matches!(request.headers.expires(), Ok(Some(0))),
    })
}

impl Watchers {
    async fn refuse(&self, query: QueryKey, rejection: Rejection) {
        let command = Command::RejectSubscription(query, rejection);
        self.endpoint.send(command).await;
    }

    async fn judged(&mut self, query: QueryKey, verdict: Result<Admitted, Refused>) {
        let admitted = match verdict {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(query, refused.into_rejection()).await,
        };
        let own = self
            .all
            .values()
            .filter(|known| known.admitted.device == admitted.device);
        if own.count() >= OF_ONE_DEVICE {
            return self.refuse(query, too_many()).await;
        }
        let (reply, accepted) = oneshot::channel();
        let contact = admitted.contact.clone();
        let command = Command::AcceptSubscription(query, contact, reply);
        self.endpoint.send(command).await;
        let Ok(Some(key)) = accepted.await else { return };
        let view = self.view(&admitted).await;
        let text = view.whole(&admitted.subject, 1);
        if admitted.is_once {
            return self.send(key, SubscriptionState::TimedOut, text).await;
        }
        self.send(key, SubscriptionState::Active, text).await;
        let watcher = Watcher {
            admitted,
            told: view,
            version: 1,
            is_busy: true,
            is_behind: false,
            wants_all: false,
            next: Instant::now() + BETWEEN,
            until: Instant::now() + LONGEST,
        };
        let conference = watcher.admitted.conference.1.clone();
        self.of.entry(conference).or_default().insert(key);
        self.all.insert(key, watcher);
    }

    fn remove(&mut self, key: SubscriptionKey) -> Option<Watcher> {
        let watcher = self.all.remove(&key)?;
        let conference = &watcher.admitted.conference.1;
        if let Some(others) = self.of.get_mut(conference) {
            others.remove(&key);
            if others.is_empty() {
                self.of.remove(conference);
            }
        }
        Some(watcher)
    }

    /// Takes what the endpoint tells of a subscription.
    async fn hear(&mut self, news: Watching) {
        match news {
            Watching::Asked { .. } => {}
            Watching::Notified(key) => {
                if let Some(watcher) = self.all.get_mut(&key) {
                    watcher.is_busy = false;
                }
            }
            Watching::Refreshed(key) => {
                if let Some(watcher) = self.all.get_mut(&key) {
                    watcher.wants_all = true;
                    watcher.until = Instant::now() + LONGEST;
                }
                self.tell(key, &mut HashMap::new()).await;
            }
            Watching::Ends(key, end) => {
                let Some(watcher) = self.remove(key) else {
                    return;
                };
                if end != SubscriptionEnd::Lost {
                    let view = self.view(&watcher.admitted).await;
                    let text = view.whole(&watcher.admitted.subject, watcher.version.wrapping_add(1));
                    self.send(key, SubscriptionState::TimedOut, text).await;
                }
            }
        }
    }

    /// Notes that something has happened in a conference. Who talks is not told.
    fn happened(&mut self, account: &AccountId, conference: &ConferenceId, kind: EventKind) {
        if matches!(
            kind,
            EventKind::StartTalking | EventKind::StopTalking | EventKind::FloorChange
        ) {
            return;
        }
        for key in self.of.get(conference).into_iter().flatten() {
            if let Some(watcher) = self.all.get_mut(key) {
                watcher.is_behind |= watcher.admitted.conference.0 == *account;
            }
        }
    }

    /// Tells all who are behind and may be told.
    async fn tell_all(&mut self) {
        let now = Instant::now();
        // The endpoint has told their end already, or could not.
        let over = self.all.iter().filter(|(_, watcher)| watcher.until <= now);
        let over: Vec<SubscriptionKey> = over.map(|(key, _)| *key).collect();
        for key in over {
            self.remove(key);
        }
        let due = self.all.iter().filter(|(_, watcher)| {
            !watcher.is_busy && (watcher.wants_all || (watcher.is_behind && watcher.next <= now))
        });
        let due: Vec<SubscriptionKey> = due.map(|(key, _)| *key).collect();
        let mut seen = HashMap::new();
        for key in due {
            self.tell(key, &mut seen).await;
        }
    }

    /// Tells one. `seen` holds the conferences that were looked at for others before.
    async fn tell(&mut self, key: SubscriptionKey, seen: &mut HashMap<(AccountId, ConferenceId), View>) {
        let Some(watcher) = self.all.get(&key).filter(|watcher| !watcher.is_busy) else {
            return;
        };
        let view = match seen.get(&watcher.admitted.conference) {
            Some(view) => view.clone(),
            None => {
                let view = self.view(&watcher.admitted).await;
                seen.insert(watcher.admitted.conference.clone(), view.clone());
                view
            }
        };
        let Some(watcher) = self.all.get_mut(&key) else {
            return;
        };
        let has_ended = watcher.told.is_running() && !view.is_running();
        let version = watcher.version.wrapping_add(1);
        let subject = &watcher.admitted.subject;
        if has_ended {
            let text = view.whole(subject, version);
            self.remove(key);
            return self.send(key, SubscriptionState::NoResource, text).await;
        }
        let text = if watcher.wants_all {
            Some(view.whole(subject, version))
        } else {
            view.since(&watcher.told, subject, version)
        };
        watcher.is_behind = false;
        watcher.wants_all = false;
        let Some(text) = text else { return };
        watcher.told = view;
        watcher.version = version;
        watcher.is_busy = true;
        watcher.next = Instant::now() + BETWEEN;
        self.send(key, SubscriptionState::Active, text).await;
    }

    async fn view(&self, admitted: &Admitted) -> View {
        let Some(server) = self.server.upgrade() else {
            return View::default();
        };
        let (account, conference) = &admitted.conference;
        let snapshot = server.registry.snapshot(account, conference).await;
        View::of(snapshot.as_ref(), &admitted.subject)
    }

    async fn send(&self, key: SubscriptionKey, state: SubscriptionState, text: String) {
        let body = Body {
            content_type: KIND.to_owned(),
            bytes: text.into(),
        };
        self.endpoint.send(Command::Notify(key, state, Some(body))).await;
    }
}
