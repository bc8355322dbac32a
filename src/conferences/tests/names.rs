//! Recorded names: who hears them, and when they are freed.

use confab_conference::Sounds as Played;
use confab_media::{MediaEvent, PlayEnd, PlayId};
use confab_recording::Audio;

use super::*;
use crate::names::SpokenName;

/// A name that lasts so long.
fn lasting(milliseconds: usize) -> SpokenName {
    SpokenName::new(Audio {
        rate_hz: 8000,
        samples: vec![1000; milliseconds * 8],
    })
}

/// Tones of 10 ms come before the names, and a tone stands for each prompt: none is in the way of the plays.
fn naming() -> Settings {
    Settings {
        entry_tone: Some("%(10,0,500)".into()),
        exit_tone: Some("%(20,0,500)".into()),
        sounds: Played {
            names: true,
            speech: Played::speaking("en-us").speech,
            ..Played::default()
        },
        ..open_settings()
    }
}

impl House {
    async fn enter_as(&self, name: Option<SpokenName>) -> Guest {
        let seat = self.reserve_with(naming()).await.expect("a place");
        if let Some(name) = name {
            seat.announce_as(name).await;
        }
        self.sit(seat).await
    }

    /// Waits for the next play; returns how long its first two sounds are.
    async fn next_play(&self, number: usize) -> Vec<u128> {
        eventually(|| self.media.sounds.lock().unwrap().len() >= number).await;
        let plays = self.media.sounds.lock().unwrap();
        assert_eq!(plays.len(), number, "{plays:?}");
        plays[number - 1][..2].to_vec()
    }

    fn play_ends(&self, number: u64) {
        let conference = confab_media::ConferenceAudioId(1);
        let (leg, play) = (None, PlayId(number));
        self.dispatch.dispatch(MediaEvent::PlayStarted {
            conference,
            leg,
            play,
        });
        self.dispatch.dispatch(MediaEvent::PlayEnded {
            conference,
            leg,
            play,
            how: PlayEnd::Finished,
        });
    }
}

#[tokio::test]
async fn a_name_is_heard_twice_and_then_freed() {
    let house = House::new();
    let first = house.enter_as(None).await;
    let name = lasting(700);
    let is_freed = name.trace();
    let ann = house.enter_as(Some(name)).await;
    assert_eq!(house.next_play(1).await, [10, 700]);
    house.play_ends(1);
    assert!(!is_freed());
    ann.participant.leave(LeaveCause::HungUp).await;
    assert_eq!(house.next_play(2).await, [20, 700]);
    // Until it is over, somebody may turn out to have missed it.
    assert!(!is_freed());
    house.play_ends(2);
    eventually(&is_freed).await;
    drop(first);
    house.empty().await;
}

#[tokio::test]
async fn a_name_that_waits_for_its_announcement_is_kept_so_long() {
    let house = House::new();
    let first = house.enter_as(None).await;
    let names = [lasting(100), lasting(200), lasting(300)];
    let traces = names.each_ref().map(SpokenName::trace);
    let mut guests = Vec::new();
    for name in names {
        guests.push(house.enter_as(Some(name)).await);
    }
    assert_eq!(house.next_play(1).await, [10, 100]);
    // Two of them leave before they were announced: who came is said all the same.
    guests.truncate(1);
    assert_eq!(house.next_play(2).await, [20, 200]);
    house.play_ends(1);
    assert_eq!(house.next_play(3).await, [10, 200]);
    // The third one's going waits for the second's to be over.
    house.play_ends(2);
    assert_eq!(house.next_play(4).await, [20, 300]);
    assert!(!traces[1]() && !traces[2]());
    house.play_ends(3);
    eventually(&traces[1]).await;
    assert!(!traces[2]());
    house.play_ends(4);
    eventually(&traces[2]).await;
    assert!(!traces[0]());
    drop((first, guests));
    house.empty().await;
    eventually(&traces[0]).await;
}

#[tokio::test]
async fn who_hangs_up_before_he_joins_leaves_no_name() {
    let house = House::new();
    let first = house.enter_as(None).await;
    let name = lasting(500);
    let is_freed = name.trace();
    let seat = house.reserve_with(naming()).await.expect("a place");
    seat.announce_as(name).await;
    drop(seat);
    eventually(&is_freed).await;
    // Nor does one who is kicked, once he is announced, or the end of the conference.
    type Order = fn(ParticipantId) -> Control;
    let controls: [(Order, u64); 2] = [(Control::Kick, 2), (|_| Control::End, 0)];
    for (control, plays) in controls {
        let name = lasting(400);
        let is_freed = name.trace();
        let guest = house.enter_as(Some(name)).await;
        house.control(control(guest.id())).await.expect("done");
        drop(guest);
        eventually(|| house.media.sounds.lock().unwrap().len() as u64 >= plays).await;
        for play in 1..=plays {
            house.play_ends(play);
        }
        eventually(&is_freed).await;
    }
    drop(first);
    house.empty().await;
}

#[tokio::test]
async fn a_conference_keeps_no_more_names_than_it_has_memory_for() {
    let house = House::new();
    let first = house.enter_as(None).await;
    let large = lasting(3_000_000);
    let is_freed = large.trace();
    let one = house.enter_as(Some(large)).await;
    assert_eq!(house.next_play(1).await, [10, 3_000_000]);
    house.play_ends(1);
    let next = lasting(1_500_000);
    let is_next_freed = next.trace();
    let another = house.enter_as(Some(next)).await;
    assert!(is_next_freed());
    let announced = house.next_play(2).await;
    assert_ne!(announced[1], 1_500_000, "somebody has joined");
    house.play_ends(2);
    // With the first its memory is free again.
    one.participant.leave(LeaveCause::HungUp).await;
    assert_eq!(house.next_play(3).await, [20, 3_000_000]);
    house.play_ends(3);
    eventually(&is_freed).await;
    let third = house.enter_as(Some(lasting(1_500_000))).await;
    assert_eq!(house.next_play(4).await, [10, 1_500_000]);
    drop((first, another, third));
    house.empty().await;
}

#[tokio::test]
async fn a_name_goes_with_who_is_moved() {
    let house = House::new();
    let (first, name) = (house.enter_as(None).await, lasting(600));
    let is_freed = name.trace();
    let seat = house.reserve_with(naming()).await.expect("a place");
    seat.announce_as(name).await;
    let (leg, (moves, mut orders)) = (house.media.leg(), mpsc::channel(1));
    let (hang_up, _hang_ups) = mpsc::channel(1);
    let ann = seat
        .movable(moves)
        .join(Arc::clone(&leg), hang_up.clone())
        .await
        .expect("joined");
    assert_eq!(house.next_play(1).await, [10, 600]);
    house.play_ends(1);
    let other = ConferenceId::from("other");
    let waits_there = house
        .registry
        .reserve(
            account(),
            other.clone(),
            naming(),
            Caller::new("bob"),
            Role::Member,
            Entry::DialIn,
        )
        .await
        .expect("a place");
    let bob = house.sit(waits_there).await;
    let id = ann.id();
    let registry = house.registry.clone();
    let moving = tokio::spawn(async move {
        registry
            .move_participant(&account(), &conference(), id, &other, naming())
            .await
    });
    let order = orders.recv().await.expect("he is told");
    ann.leave(LeaveCause::Moved).await;
    assert_eq!(house.next_play(2).await, [20, 600]);
    let there = order.seat.join(leg, hang_up).await.expect("joined");
    let _ = order.reply.send(Ok(there.id()));
    assert_eq!(moving.await.expect("asked"), Ok(there.id()));
    assert_eq!(house.next_play(3).await, [10, 600]);
    assert!(!is_freed());
    drop((there, first, bob));
    house.empty().await;
    eventually(&is_freed).await;
}
