//! From what a request names to who is called: URIs, ids, numbers and devices written out (contract §4.3).
//!
//! Asks the store and the registrar, calls nobody. All or nothing: one endpoint that is none, and nothing rings.

use std::sync::Arc;

use confab_api::{DialEndpoint, DialRefusal};
use confab_conference::{AccountId, ConferenceId};
use confab_documents::{
    Account, DialPlan, Document, Kind, ListOrder, ListPage, Rule, Store, StoreError, Violation, Violations,
};
use confab_sip::{Host, SipUri};
use serde_json::Value;

use super::{
    Contacts,
    callee::{Callee, Outside, Place},
    device::Device,
    number::{self, E164},
    parts::{target, text},
    words,
};
use crate::trunks::{Trunks, Wanted};

/// Documents that are read at a time, where all of an account are looked through.
const PAGE: u32 = 500;
/// The longest extension that is looked for.
const LONGEST_EXTENSION: usize = 9;
/// What is shorter may be an extension without anybody's having it.
const SHORT: usize = 5;
/// The longest number that is looked for outside, without separators.
const LONGEST_NUMBER: usize = 40;
/// Legs of one endpoint: a user may have many devices.
const MOST_LEGS: usize = 50;

/// One leg: an entry of the answer.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    /// The endpoint as the request has it.
    pub(super) endpoint_id: String,
    /// The device, where the endpoint is a user.
    pub(super) device_id: Option<String>,
    /// Who is called, or why nobody can be, in the contract's words.
    pub(super) callee: Result<Callee, &'static str>,
}

/// One endpoint: its legs ring together, and the first who answers joins.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) legs: Vec<Leg>,
}

/// Why an endpoint is none.
enum Unresolved {
    /// What is wrong with it.
    Wrong(Rule, String, Option<Value>),
    Store(StoreError),
}

impl From<StoreError> for Unresolved {
    fn from(error: StoreError) -> Self {
        Unresolved::Store(error)
    }
}

/// Finds who is called.
pub(super) struct Resolver<'a> {
    pub(super) store: &'a Store,
    pub(super) contacts: &'a dyn Contacts,
    pub(super) trunks: &'a Trunks,
    pub(super) account: &'a Account,
    /// The conference that dials.
    pub(super) conference: &'a ConferenceId,
    /// Numbers of the emergency services.
    pub(super) emergency: &'a [String],
    /// Tags that trunks have to have.
    pub(super) flags: &'a [String],
}

impl Resolver<'_> {
    /// Finds who is called, in the order of the request.
    ///
    /// # Errors
    /// All endpoints that are none, together.
    pub(super) async fn resolve(&self, endpoints: &[DialEndpoint]) -> Result<Vec<Endpoint>, DialRefusal> {
        let mut found = Vec::new();
        let mut wrong = Violations::default();
        for (place, endpoint) in endpoints.iter().enumerate() {
            let legs = match endpoint {
                DialEndpoint::Named(name) => self.named(name).await,
                DialEndpoint::Device(device) => self.written_out(device).await,
            };
            match legs {
                Ok(legs) => found.push(Endpoint { legs }),
                Err(Unresolved::Store(error)) => return Err(error.into()),
                Err(Unresolved::Wrong(rule, message, target)) => {
                    let mut violation =
                        Violation::new(format!("data.endpoints.{}", place + 1), rule, message);
                    violation.target = target;
                    if let DialEndpoint::Named(name) = endpoint {
                        violation = violation.with_value(&name.as_str().into());
                    }
                    wrong.push(violation);
                }
            }
        }
        if !wrong.is_empty() {
            return Err(DialRefusal::Invalid(wrong));
        }
        if found.iter().all(|endpoint| endpoint.legs.is_empty()) {
            let message = "endpoints failed to resolve to route-able destinations";
            let violation = Violation::new("data.endpoints", Rule::MinItems, message).with_target(1.into());
            return Err(DialRefusal::Invalid(violation.into()));
        }
        Ok(found)
    }

    async fn named(&self, name: &str) -> Result<Vec<Leg>, Unresolved> {
        let lower = name.get(..5).unwrap_or(name).to_ascii_lowercase();
        if lower.starts_with("sip:") || lower.starts_with("sips:") {
            let target = target(name).ok_or_else(|| not_found(name))?;
            let user = target.user_decoded().map(|user| user.to_str_lossy().into_owned());
            let number = user.filter(|user| !user.is_empty());
            let number = number.unwrap_or_else(|| target.host.to_string());
            let callee = Callee::somebody(vec![Place::at(target)], number.clone(), number);
            return Ok(vec![Leg {
                endpoint_id: name.to_owned(),
                device_id: None,
                callee: Ok(callee),
            }]);
        }
        if name.len() == 32 {
            return self.id(name).await;
        }
        if let Some(legs) = self.number(name, name, true).await? {
            return Ok(legs);
        }
        let is_short = !name.is_empty() && name.len() < SHORT;
        let is_number = is_short || E164::parse(name).is_some();
        match self.outside(name, &[]).await? {
            Err(_) if !is_number => {
                let message = "Value not a number, device or user ID, or SIP endpoint";
                Err(Unresolved::Wrong(Rule::Enum, message.to_owned(), None))
            }
            callee => Ok(vec![Leg {
                endpoint_id: name.to_owned(),
                device_id: None,
                callee,
            }]),
        }
    }

    /// Whoever has a number in the world, by the trunks that take it; else why nobody is reached, in the contract's words.
    /// `flags`: further tags that they have to have.
    async fn outside(
        &self,
        dialled: &str,
        flags: &[String],
    ) -> Result<Result<Callee, &'static str>, StoreError> {
        let account = &self.account.id;
        let bare = number::bare(dialled);
        let is_number = |byte: u8| byte.is_ascii_digit() || b"+*#".contains(&byte);
        if bare.is_empty() || bare.len() > LONGEST_NUMBER || !bare.bytes().all(is_number) {
            return Ok(Err(words::UNALLOCATED));
        }
        let configuration = self.store.conferences_configuration(account).await?;
        let plan = DialPlan::of(configuration.as_ref(), &self.account.language);
        let full = E164::parse_in(dialled, plan.country_code.as_deref());
        let mut forms: Vec<String> = full.iter().map(|full| full.as_str().to_owned()).collect();
        let shown = full.as_ref().map_or(bare.as_str(), E164::as_str).to_owned();
        let is_emergency = self.emergency.contains(&bare);
        if !forms.contains(&bare) {
            forms.push(bare);
        }
        let is_telephone = full.is_some();
        let flags: Vec<String> = self.flags.iter().chain(flags).cloned().collect();
        let wanted = Wanted {
            forms: &forms,
            is_telephone,
            is_emergency,
            flags: &flags,
        };
        let found = self.trunks.choices(account, wanted).await?;
        if found.choices.is_empty() {
            return Ok(Err(match found.has_trunks {
                true if is_telephone => words::NO_ROUTE,
                _ => words::UNALLOCATED,
            }));
        }
        let mut callee = Callee::somebody(Vec::new(), shown.clone(), shown);
        callee.outside = Some(Outside {
            number: full,
            is_emergency,
            choices: found.choices,
        });
        Ok(Ok(callee))
    }

    /// A device or user of the account.
    async fn id(&self, id: &str) -> Result<Vec<Leg>, Unresolved> {
        let account = &self.account.id;
        if let Some(document) = self.store.document(account, Kind::Device, id).await? {
            let owner = self.owner(&document).await?;
            let device = Device {
                document: &document,
                owner: owner.as_ref(),
            };
            if !device.is_callable() {
                return Err(not_found(id));
            }
            return self.device(id, None, device, None, true).await;
        }
        if let Some(user) = self.store.document(account, Kind::User, id).await? {
            let legs = self.user(id, &user, None).await?;
            if legs.is_empty() {
                let message = format!("user {id} failed to resolve to route-able destinations");
                return Err(Unresolved::Wrong(Rule::MinItems, message, Some(1.into())));
            }
            return Ok(legs);
        }
        Err(not_found(id))
    }

    async fn written_out(&self, document: &Document) -> Result<Vec<Leg>, Unresolved> {
        let owner = self.owner(document).await?;
        let device = Device {
            document,
            owner: owner.as_ref(),
        };
        if !device.is_callable() {
            return Err(not_found(&document.id));
        }
        self.device(&document.id, None, device, None, true).await
    }

    async fn owner(&self, device: &Document) -> Result<Option<Document>, StoreError> {
        match text(&device.body, &["owner_id"]) {
            Some(owner) => self.store.document(&self.account.id, Kind::User, owner).await,
            None => Ok(None),
        }
    }

    /// The legs of one device: itself, and whom its calls are forwarded to.
    async fn device(
        &self,
        endpoint_id: &str,
        device_id: Option<&str>,
        device: Device<'_>,
        dialled: Option<&str>,
        is_direct: bool,
    ) -> Result<Vec<Leg>, Unresolved> {
        let contacts = self.contacts.of(&self.account.id, &device.document.id).await;
        let leg = |callee| Leg {
            endpoint_id: endpoint_id.to_owned(),
            device_id: device_id.map(str::to_owned),
            callee,
        };
        let own = device.callee(&self.account.realm, dialled, &contacts);
        let forward = device.forward(is_direct);
        let is_away = matches!(own, Err(words::NOT_REGISTERED));
        let forward = forward.filter(|forward| !forward.only_failover || is_away);
        let Some(forward) = forward else {
            return Ok(vec![leg(own)]);
        };
        // A forward of whom it is forwarded to is not followed, so that there is no circle.
        let forwarded = Box::pin(self.number(endpoint_id, &forward.number, false)).await?;
        let mut legs = match forwarded {
            Some(legs) => legs,
            None => {
                let flags = device.outbound_flags();
                vec![leg(self.outside(&forward.number, &flags).await?)]
            }
        };
        for forwarded in &mut legs {
            forwarded.device_id = device_id.map(str::to_owned);
            if let Ok(callee) = &mut forwarded.callee {
                callee.confirms |= forward.confirms;
                callee.forwarder = (!forward.keeps_caller).then(|| device.forwarder());
            }
        }
        if !forward.substitutes && !forward.only_failover {
            legs.insert(0, leg(own));
        }
        Ok(legs)
    }

    /// The legs of all devices that a user owns or is logged in at; none when he is switched off.
    async fn user(
        &self,
        endpoint_id: &str,
        user: &Document,
        dialled: Option<&str>,
    ) -> Result<Vec<Leg>, Unresolved> {
        let mut legs = Vec::new();
        if user.body.get("enabled") == Some(&Value::Bool(false)) {
            return Ok(legs);
        }
        let is_his = |device: &Document| {
            let is_owner = text(&device.body, &["owner_id"]) == Some(user.id.as_str());
            let guests = device.body.get("hotdesk").and_then(|desk| desk.get("users"));
            is_owner || guests.is_some_and(|guests| guests.get(&user.id).is_some())
        };
        for document in self.all(Kind::Device, &is_his).await? {
            let device = Device {
                document: &document,
                owner: Some(user),
            };
            if device.is_callable() && legs.len() < MOST_LEGS {
                let more = self.device(endpoint_id, Some(&document.id), device, dialled, false);
                legs.extend(more.await?);
            }
        }
        Ok(legs)
    }

    /// Whoever has a number within the account; `None` when nobody does. `is_first`: it was dialled, not forwarded to.
    async fn number(
        &self,
        endpoint_id: &str,
        number: &str,
        is_first: bool,
    ) -> Result<Option<Vec<Leg>>, Unresolved> {
        let account = &self.account.id;
        let configuration = self.store.conferences_configuration(account).await?;
        let plan = DialPlan::of(configuration.as_ref(), &self.account.language);
        if let Some(route) = self.store.route_first(account, &plan.forms(number)).await? {
            let is_own = route.document.id == self.conference.as_str();
            let callee = if is_own {
                Err(words::ROUTING_ERROR)
            } else {
                self.other_conference(&route.document, number)
            };
            return Ok(Some(vec![Leg {
                endpoint_id: endpoint_id.to_owned(),
                device_id: None,
                callee,
            }]));
        }
        if number.is_empty() || number.len() > LONGEST_EXTENSION {
            return Ok(None);
        }
        let has_it = |document: &Document| {
            let device = Device {
                document,
                owner: None,
            };
            device.has_extension(number) && device.is_callable()
        };
        if let Some(document) = self.all(Kind::Device, &has_it).await?.first() {
            let owner = self.owner(document).await?;
            let device = Device {
                document,
                owner: owner.as_ref(),
            };
            return self
                .extension(endpoint_id, device, number, is_first)
                .await
                .map(Some);
        }
        let is_user = |document: &Document| {
            let places: [&[&str]; 3] = [
                &["caller_id", "internal", "number"],
                &["username"],
                &["presence_id"],
            ];
            places
                .iter()
                .any(|path| text(&document.body, path) == Some(number))
        };
        if let Some(user) = self.all(Kind::User, &is_user).await?.first() {
            let legs = if is_first {
                self.user(endpoint_id, user, Some(number)).await?
            } else {
                Vec::new()
            };
            return Ok((!legs.is_empty()).then_some(legs));
        }
        Ok(None)
    }

    /// Another conference of the account: whoever is there is reached as by a caller from outside.
    fn other_conference(&self, document: &Document, number: &str) -> Result<Callee, &'static str> {
        let host = Host::parse(&self.account.realm.as_str().into());
        let host = host.map_err(|_| words::ROUTING_ERROR)?;
        let target = SipUri::new(host, None).with_user(number);
        let name = text(&document.body, &["name"]).unwrap_or(number).to_owned();
        Ok(Callee::somebody(
            vec![Place::within(target)],
            name,
            number.to_owned(),
        ))
    }

    async fn extension(
        &self,
        endpoint_id: &str,
        device: Device<'_>,
        number: &str,
        is_first: bool,
    ) -> Result<Vec<Leg>, Unresolved> {
        if is_first {
            return self.device(endpoint_id, None, device, Some(number), true).await;
        }
        let contacts = self.contacts.of(&self.account.id, &device.document.id).await;
        Ok(vec![Leg {
            endpoint_id: endpoint_id.to_owned(),
            device_id: None,
            callee: device.callee(&self.account.realm, Some(number), &contacts),
        }])
    }

    /// The account's documents of a kind that are wanted.
    async fn all(
        &self,
        kind: Kind,
        is_wanted: &(dyn Fn(&Document) -> bool + Sync),
    ) -> Result<Vec<Arc<Document>>, StoreError> {
        let account: &AccountId = &self.account.id;
        let mut found = Vec::new();
        let mut start = None;
        loop {
            let page = ListPage {
                order: ListOrder::Ascending,
                start: start.take(),
                limit: PAGE + 1,
                owner: None,
            };
            let documents = self.store.documents(account, kind, &page).await?;
            let is_last = documents.len() <= PAGE as usize;
            if !is_last {
                start = documents.last().map(|last| ListPage::place_of(last));
            }
            found.extend(
                documents
                    .into_iter()
                    .take(PAGE as usize)
                    .filter(|document| is_wanted(document)),
            );
            if is_last {
                return Ok(found);
            }
        }
    }
}

fn not_found(id: &str) -> Unresolved {
    Unresolved::Wrong(Rule::NotFound, format!("ID {id} not found"), None)
}

#[cfg(test)]
mod tests {
    use confab_documents::BootstrapConfig;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::dialling::NoContacts;

    /// A store with a device, a user who has it, and a conference.
    async fn store(folder: &std::path::Path) -> (Store, Account, [String; 2]) {
        let store = Store::open(folder, "").await.unwrap();
        let config = BootstrapConfig {
            conference_number: "3000".into(),
            ..BootstrapConfig::default()
        };
        let first = store.bootstrap(config).await.unwrap().unwrap();
        let account = store.account(&first.account_id).await.unwrap().unwrap();
        let make = async |kind, body: Value| {
            let body = body.as_object().unwrap().clone();
            store.create(&account.id, kind, body).await.unwrap().id
        };
        let user = make(Kind::User, json!({"first_name": "A", "last_name": "B"})).await;
        let device = make(
            Kind::Device,
            json!({"name": "Desk", "owner_id": user, "caller_id": {"internal": {"number": "1417"}},
                "sip": {"invite_format": "route", "route": "sip:desk@192.0.2.7"}}),
        )
        .await;
        (store, account, [user, device])
    }

    async fn resolve(
        store: &Store,
        account: &Account,
        names: &[String],
    ) -> Result<Vec<Endpoint>, DialRefusal> {
        let resolver = Resolver {
            store,
            contacts: &NoContacts,
            trunks: &Trunks::new(store.clone()),
            account,
            conference: &ConferenceId::from("room"),
            emergency: &[],
            flags: &[],
        };
        let endpoints: Vec<DialEndpoint> = names.iter().cloned().map(DialEndpoint::Named).collect();
        resolver.resolve(&endpoints).await
    }

    #[test]
    fn all_endpoints_are_found_or_each_one_that_is_none_is_told_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (store, account, [user, device]) = runtime.block_on(store(folder.path()));
        let name = prop_oneof![
            4 => prop_oneof![
                Just(user), Just(device), Just("1417".to_owned()), Just("sip:bob@192.0.2.9".to_owned()),
                Just("4158867900".to_owned()), Just("3000".to_owned()), Just("99".to_owned()),
            ].prop_map(|name| (name, true)),
            1 => prop_oneof![
                Just("abcdefgh".to_owned()), Just("f".repeat(32)), Just("sip:".to_owned()), Just(String::new()),
            ].prop_map(|name| (name, false)),
        ];
        let run = |names: Vec<(String, bool)>| {
            let good: Vec<bool> = names.iter().map(|(_, good)| *good).collect();
            let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
            let bad: Vec<String> = (1..=good.len())
                .filter(|place| !good[place - 1])
                .map(|place| format!("data.endpoints.{place}"))
                .collect();
            match runtime.block_on(resolve(&store, &account, &names)) {
                Ok(found) => {
                    prop_assert!(bad.is_empty());
                    prop_assert_eq!(found.len(), names.len());
                    for (endpoint, name) in found.iter().zip(&names) {
                        prop_assert!(endpoint.legs.iter().all(|leg| leg.endpoint_id == *name));
                        prop_assert_eq!(endpoint.legs.len(), 1);
                    }
                }
                Err(DialRefusal::Invalid(wrong)) => {
                    let told: Vec<&str> = wrong.iter().map(|one| one.field.as_str()).collect();
                    prop_assert_eq!(told, bad);
                }
                Err(other) => panic!("{other}"),
            }
            Ok(())
        };
        proptest!(ProptestConfig::with_cases(64), |(names in prop::collection::vec(name, 1..6))| run(names)?);
        let any = "\\PC{0,40}|sips?:\\PC{0,20}|[0-9+*# ()-]{0,20}";
        proptest!(ProptestConfig::with_cases(128), |(name in any)| {
            let _ = runtime.block_on(resolve(&store, &account, &[name]));
        });
    }
}
