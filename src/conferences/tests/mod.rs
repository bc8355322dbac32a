//! The registry and its tasks over a media plane that only takes notes; [`real`] does it with the real one.

mod callers;
mod fake;
mod media_events;
mod names;
mod playing;
mod real;
mod shutdown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use confab_api::event::{EventBus, Subscription};
use confab_conference::{
    AccountId, Caller, ConferenceId, Control, Entry, Event, EventKind, LeaveCause, ParticipantId, Refusal,
    Relationship, Role, RoleSettings, Settings, Snapshot, Volume,
};
use tokio::sync::mpsc;

use self::fake::{Act, FakeLeg, FakePlane};
use super::media::LegSetting;
use super::{HangUp, MediaDispatch, Participant, Registry, Seat};
use crate::config;
use crate::sounds::{Sounds, tests::permissive};

/// The events that are published, without what they look like outside.
struct Events(Subscription);

impl Events {
    async fn recv(&mut self) -> Option<Arc<Event>> {
        Some(Arc::clone(self.0.recv().await?.event()))
    }
}

/// A registry over the fake plane, with a subscriber on its bus.
struct House {
    media: Arc<FakePlane>,
    dispatch: MediaDispatch,
    registry: Registry<FakePlane>,
    events: Events,
}

/// A call that has joined.
struct Guest {
    leg: Arc<FakeLeg>,
    participant: Participant<FakePlane>,
    hang_ups: mpsc::Receiver<HangUp>,
}

impl Guest {
    fn id(&self) -> ParticipantId {
        self.participant.id()
    }
}

fn account() -> AccountId {
    AccountId::from("account")
}

fn conference() -> ConferenceId {
    ConferenceId::from("conference")
}

fn open_settings() -> Settings {
    Settings {
        member: RoleSettings::default(),
        entry_tone: None,
        exit_tone: None,
        ..Settings::default()
    }
}

impl House {
    fn new() -> House {
        Self::with_fetch(&permissive())
    }

    fn with_fetch(fetch: &config::Fetch) -> House {
        let media = Arc::new(FakePlane::new());
        let dispatch = MediaDispatch::default();
        let bus = EventBus::default();
        let events = Events(bus.subscribe());
        let sounds = Sounds::new(fetch);
        let registry = Registry::new(Arc::clone(&media), dispatch.clone(), bus, sounds, None);
        House {
            media,
            dispatch,
            registry,
            events,
        }
    }

    async fn reserve(&self) -> Result<Seat<FakePlane>, Refusal> {
        self.reserve_with(open_settings()).await
    }

    async fn reserve_with(&self, settings: Settings) -> Result<Seat<FakePlane>, Refusal> {
        let caller = Caller::new("call");
        self.registry
            .reserve(
                account(),
                conference(),
                settings,
                caller,
                Role::Member,
                Entry::DialIn,
            )
            .await
    }

    async fn guest(&self) -> Guest {
        self.sit(self.reserve().await.expect("a place")).await
    }

    async fn sit(&self, seat: Seat<FakePlane>) -> Guest {
        let leg = self.media.leg();
        let (hang_up, hang_ups) = mpsc::channel(1);
        let participant = seat.join(Arc::clone(&leg), hang_up).await.expect("joined");
        Guest {
            leg,
            participant,
            hang_ups,
        }
    }

    async fn control(&self, control: Control) -> Result<(), Refusal> {
        self.registry.control(&account(), &conference(), control).await
    }

    async fn snapshot(&self) -> Option<Snapshot> {
        self.registry.snapshot(&account(), &conference()).await
    }

    /// The next events up to and including the first named `last`, as names.
    async fn events_to(&mut self, last: &str) -> Vec<&'static str> {
        let mut names = Vec::new();
        loop {
            let event = self.events.recv().await.expect("the bus lives");
            names.push(event.kind.name());
            if event.kind.name() == last {
                return names;
            }
        }
    }

    /// Waits until no conference is alive.
    async fn empty(&self) {
        eventually(|| self.registry.conferences() == 0).await;
        assert_eq!(self.registry.participants(), 0);
        let (_, legs, mixes) = self.dispatch.attached();
        assert_eq!((legs, mixes), (0, 0), "nothing listens for media any more");
    }
}

/// Lets other tasks run until the condition holds; a hang is a failure.
async fn eventually(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it never came");
}

#[tokio::test]
async fn a_conference_runs_from_its_first_join_to_its_last_leave() {
    let mut house = House::new();
    let seat = house.reserve().await.expect("a place");
    assert_eq!(house.snapshot().await, None, "nobody is in yet");
    assert_eq!(house.control(Control::MuteAll).await, Err(Refusal::NotRunning));
    let guest = house.sit(seat).await;
    let snapshot = house.snapshot().await.expect("it runs");
    assert_eq!(snapshot.sequence, 2);
    assert_eq!(snapshot.participants[0].id, guest.id());
    assert_eq!(
        (house.registry.conferences(), house.registry.participants()),
        (1, 1)
    );
    let leg = guest.leg.id;
    guest.participant.leave(LeaveCause::HungUp).await;
    assert_eq!(
        house.events_to("conference-destroy").await,
        [
            "conference-create",
            "add-member",
            "del-member",
            "conference-destroy"
        ]
    );
    house.empty().await;
    let acts = house.media.log.take();
    assert!(matches!(acts[0], Act::Created(_)));
    assert_eq!(
        acts[1..3],
        [
            Act::Joined {
                leg,
                muted: false,
                deaf: false
            },
            Act::Left(leg)
        ]
    );
    assert!(matches!(acts[3..], [Act::Closed(_)]));
    assert_eq!(house.snapshot().await, None);
}

#[tokio::test]
async fn the_role_decides_how_a_leg_enters_the_mix() {
    let house = House::new();
    let guest = house
        .sit(house.reserve_with(Settings::default()).await.expect("a place"))
        .await;
    assert!(house.snapshot().await.expect("it runs").participants[0].muted);
    assert!(house.media.log.take().contains(&Act::Joined {
        leg: guest.leg.id,
        muted: true,
        deaf: false
    }));
}

#[tokio::test]
async fn a_control_is_done_and_published_before_it_is_answered() {
    let mut house = House::new();
    let guest = house.guest().await;
    let (id, leg) = (guest.id(), guest.leg.id);
    house.events_to("add-member").await;
    house.media.log.take();
    let quiet = Volume::from_level(-4).expect("a level");
    let digits = "12#".parse().expect("digits");
    let rows = [
        (Control::Mute(id), Act::Muted(leg, true), EventKind::MuteMember),
        (
            Control::Unmute(id),
            Act::Muted(leg, false),
            EventKind::UnmuteMember,
        ),
        (Control::Deaf(id), Act::Deaf(leg, true), EventKind::DeafMember),
        (
            Control::Undeaf(id),
            Act::Deaf(leg, false),
            EventKind::UndeafMember,
        ),
        (
            Control::Hold(id),
            Act::Set(leg, LegSetting::Held(true)),
            EventKind::HoldMember,
        ),
        (
            Control::SetVolumeIn(id, quiet),
            Act::Set(leg, LegSetting::VolumeIn(quiet)),
            EventKind::VolumeInMember,
        ),
        (
            Control::SetVolumeOut(id, quiet),
            Act::Set(leg, LegSetting::VolumeOut(quiet)),
            EventKind::VolumeOutMember,
        ),
        (
            Control::SetEnergy(id, 500),
            Act::Set(leg, LegSetting::EnergyLevel(500)),
            EventKind::EnergyLevelMember,
        ),
        (
            Control::SetAgc(id, true),
            Act::Set(leg, LegSetting::Agc(true)),
            EventKind::AgcMember,
        ),
        (
            Control::SetDenoise(id, true),
            Act::Set(leg, LegSetting::Denoise(true)),
            EventKind::DenoiseMember,
        ),
        (
            Control::SendDigits(id, digits),
            Act::Digits(leg, digits),
            EventKind::DtmfMember,
        ),
    ];
    for (control, act, kind) in rows {
        assert_eq!(house.control(control).await, Ok(()));
        assert_eq!(house.media.log.take(), [act]);
        assert_eq!(house.events.recv().await.map(|event| event.kind), Some(kind));
    }
    let stranger = ParticipantId::new(99).unwrap();
    assert_eq!(
        house.control(Control::Mute(stranger)).await,
        Err(Refusal::UnknownParticipant(stranger))
    );
}

#[tokio::test]
async fn relations_reach_the_mix_and_nobody_else() {
    let mut house = House::new();
    let (a, b) = (house.guest().await, house.guest().await);
    let Some(Act::Created(mix)) = house.media.log.take().first().copied() else {
        panic!("no mix")
    };
    let relate = |relationship| Control::Relate {
        participant: a.id(),
        other: b.id(),
        relationship,
    };
    let heard = |talker: &Guest, listener: &Guest, heard| Act::Heard {
        mix,
        talker: talker.leg.id,
        listener: listener.leg.id,
        heard,
    };
    let rows = [
        (Relationship::Clear, vec![]),
        (Relationship::Mute, vec![heard(&a, &b, false)]),
        (
            Relationship::Deaf,
            vec![heard(&a, &b, true), heard(&b, &a, false)],
        ),
        (Relationship::Clear, vec![heard(&b, &a, true)]),
    ];
    for (relationship, acts) in rows {
        assert_eq!(house.control(relate(relationship)).await, Ok(()));
        let mut done = house.media.log.take();
        done.sort_by_key(|act| matches!(act, Act::Heard { heard: false, .. }));
        assert_eq!(done, acts, "{relationship:?}");
    }
    house.control(Control::Lock).await.expect("it runs");
    house.events_to("add-member").await;
    assert_eq!(house.events_to("lock").await, ["add-member", "lock"]);
}

#[tokio::test]
async fn a_locked_or_full_conference_gives_no_place() {
    let house = House::new();
    let _first = house.guest().await;
    house.control(Control::Lock).await.expect("it runs");
    assert_eq!(house.reserve().await.err(), Some(Refusal::Locked));
    house.control(Control::Unlock).await.expect("it runs");
    let limited = Settings {
        max_participants: Some(2),
        ..open_settings()
    };
    house.registry.update(&account(), &conference(), limited).await;
    let held = house.reserve().await.expect("the second place");
    assert_eq!(house.reserve().await.err(), Some(Refusal::Full));
    drop(held);
    eventually(|| house.registry.conferences() == 1).await;
    let _second = house.guest().await;
    assert_eq!(house.reserve().await.err(), Some(Refusal::Full));
}

#[tokio::test]
async fn a_kick_takes_the_leg_out_and_tells_its_call() {
    let mut house = House::new();
    let stays = house.guest().await;
    let mut goes = house.guest().await;
    house.media.log.take();
    assert_eq!(house.control(Control::Kick(goes.id())).await, Ok(()));
    assert_eq!(house.media.log.take(), [Act::Left(goes.leg.id)]);
    assert_eq!(
        goes.hang_ups.try_recv(),
        Ok(HangUp {
            cause: LeaveCause::Kicked
        })
    );
    assert_eq!(
        house.snapshot().await.map(|snapshot| snapshot.participants.len()),
        Some(1)
    );
    house.events_to("del-member").await;
    goes.participant.leave(LeaveCause::HungUp).await;
    house.control(Control::Mute(stays.id())).await.expect("it runs");
    assert_eq!(
        house.events_to("mute-member").await,
        ["mute-member"],
        "he left only once"
    );
}

#[tokio::test]
async fn kicking_everybody_ends_the_conference() {
    let mut house = House::new();
    let mut guests = Vec::new();
    for _ in 0..50 {
        guests.push(house.guest().await);
    }
    assert_eq!(house.control(Control::KickAll).await, Ok(()));
    for guest in &mut guests {
        assert_eq!(
            guest.hang_ups.try_recv(),
            Ok(HangUp {
                cause: LeaveCause::Kicked
            })
        );
    }
    house.events_to("conference-destroy").await;
    house.empty().await;
}

#[tokio::test]
async fn a_place_that_is_dropped_is_given_back() {
    let mut house = House::new();
    drop(house.reserve().await.expect("a place"));
    house.empty().await;
    let guest = house.guest().await;
    drop(house.reserve().await.expect("a second place"));
    let leg = guest.leg.id;
    drop(guest);
    let destroyed = house.events_to("conference-destroy").await;
    assert_eq!(destroyed.len(), 4, "{destroyed:?}");
    house.empty().await;
    assert!(house.media.log.take().contains(&Act::Left(leg)));
}

#[tokio::test]
async fn the_media_plane_may_refuse() {
    let mut house = House::new();
    house.media.refuse_conferences.store(true, Ordering::Relaxed);
    assert_eq!(house.reserve().await.err(), Some(Refusal::Media));
    house.empty().await;
    house.media.refuse_conferences.store(false, Ordering::Relaxed);
    let seat = house.reserve().await.expect("a place");
    let leg = house.media.leg();
    leg.closed.store(true, Ordering::Relaxed);
    assert_eq!(
        seat.join(leg, mpsc::channel(1).0).await.err(),
        Some(Refusal::Media)
    );
    house.empty().await;
    drop(house.guest().await);
    assert_eq!(
        house.events_to("add-member").await,
        ["conference-create", "add-member"]
    );
}

#[tokio::test]
async fn a_leg_that_is_gone_does_not_stop_a_control() {
    let house = House::new();
    let guest = house.guest().await;
    guest.leg.closed.store(true, Ordering::Relaxed);
    assert_eq!(house.control(Control::Mute(guest.id())).await, Ok(()));
    assert!(house.snapshot().await.expect("it runs").participants[0].muted);
}

#[tokio::test]
async fn joins_go_side_by_side_and_one_given_up_leaves_the_mix() {
    let mut house = House::new();
    let permits = house.media.joins.available_permits();
    house.media.joins.forget_permits(permits);
    let first = house.reserve().await.expect("a place");
    let second = house.reserve().await.expect("a place");
    let (given_up, taken) = (house.media.leg(), house.media.leg());
    let join = tokio::spawn(first.join(Arc::clone(&given_up), mpsc::channel(1).0));
    let other = tokio::spawn(second.join(Arc::clone(&taken), mpsc::channel(1).0));
    eventually(|| house.dispatch.attached().1 == 2).await;
    let stricter = Settings {
        member: RoleSettings {
            join_muted: true,
            join_deaf: true,
        },
        ..Settings::default()
    };
    house.registry.update(&account(), &conference(), stricter).await;
    join.abort();
    assert_eq!(
        house.snapshot().await,
        None,
        "the task is not held up by its joins"
    );
    house.media.joins.add_permits(2);
    let joined = other.await.expect("not aborted").expect("joined");
    let state = house.snapshot().await.expect("it runs").participants[0].clone();
    assert!(state.id == joined.id() && state.muted && state.deaf);
    eventually(|| house.dispatch.attached().1 == 1).await;
    let mut acts = Vec::new();
    eventually(|| {
        acts.extend(house.media.log.take());
        acts.contains(&Act::Left(given_up.id))
    })
    .await;
    assert!(acts.contains(&Act::Muted(taken.id, true)) && acts.contains(&Act::Deaf(taken.id, true)));
    assert_eq!(
        house.snapshot().await.map(|snapshot| snapshot.participants.len()),
        Some(1)
    );
    assert_eq!(
        house.events_to("add-member").await,
        ["conference-create", "add-member"]
    );
}

#[tokio::test]
async fn conferences_of_two_accounts_do_not_meet() {
    let house = House::new();
    let _ours = house.guest().await;
    let theirs = AccountId::from("another");
    let caller = Caller::new("call");
    let settings = open_settings();
    let seat = house
        .registry
        .reserve(
            theirs.clone(),
            conference(),
            settings,
            caller,
            Role::Member,
            Entry::DialIn,
        )
        .await
        .expect("a place");
    assert_eq!(house.registry.conferences(), 2);
    assert_eq!(house.registry.snapshot(&theirs, &conference()).await, None);
    let _other = house.sit(seat).await;
    let mine = house.snapshot().await.expect("it runs");
    let other = house
        .registry
        .snapshot(&theirs, &conference())
        .await
        .expect("it runs");
    assert_ne!(mine.instance_id, other.instance_id);
    assert_ne!(mine.participants[0].id, other.participants[0].id);
}

/// Calls come and go so fast that instances end while the next caller asks for a place: everybody gets in, nothing is
/// left behind, and every instance tells a whole story.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_who_meets_the_end_of_an_instance_starts_another() {
    const CALLERS: usize = 8;
    const CALLS: usize = 60;
    let mut house = House::new();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let media = Arc::clone(&house.media);
        let registry = house.registry.clone();
        callers.spawn(async move {
            for call in 0..CALLS {
                let who = Caller::new(format!("{caller}-{call}"));
                let seat = registry
                    .reserve(
                        account(),
                        conference(),
                        open_settings(),
                        who,
                        Role::Member,
                        Entry::DialIn,
                    )
                    .await
                    .expect("a place");
                if call % 7 == 3 {
                    continue;
                }
                let joined = seat.join(media.leg(), mpsc::channel(1).0).await.expect("joined");
                match call % 3 {
                    0 => drop(joined),
                    1 => joined.leave(LeaveCause::HungUp).await,
                    _ => {
                        let kick = Control::Kick(joined.id());
                        registry
                            .control(&account(), &conference(), kick)
                            .await
                            .expect("he is in");
                    }
                }
            }
        });
    }
    callers.join_all().await;
    house.empty().await;
    drop(house.registry);
    let mut stories = BTreeMap::<String, Vec<Arc<Event>>>::new();
    let mut ids = BTreeSet::new();
    while let Some(event) = house.events.recv().await {
        if let (EventKind::AddMember, Some(state)) = (event.kind, &event.participant) {
            assert!(ids.insert(state.id), "an id was used twice");
        }
        stories
            .entry(event.instance_id.to_string())
            .or_default()
            .push(event);
    }
    assert_eq!(
        ids.len(),
        CALLERS * (0..CALLS).filter(|call| call % 7 != 3).count()
    );
    for story in stories.values() {
        let mut reading = Snapshot::begin(&story[0]).expect("an instance begins with its creation");
        for event in &story[1..] {
            reading.follow(event).expect("no gaps");
        }
        assert_eq!(
            story.last().map(|event| event.kind),
            Some(EventKind::ConferenceDestroy)
        );
    }
}
