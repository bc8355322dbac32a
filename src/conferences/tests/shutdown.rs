//! The end of everything, and what the log and slow subscribers see.

use std::io::Write;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;

use confab_api::event::EVENTS;

use super::super::bus::log_events;
use super::*;

#[tokio::test]
async fn draining_hangs_everybody_up_and_starts_nothing_new() {
    let mut house = House::new();
    let mut guests = Vec::new();
    for _ in 0..20 {
        guests.push(house.guest().await);
    }
    let held = house.reserve().await.expect("a place");
    house.registry.drain().await;
    assert_eq!(house.registry.conferences(), 0);
    for guest in &mut guests {
        assert_eq!(
            guest.hang_ups.try_recv(),
            Ok(HangUp {
                cause: LeaveCause::ServerShutdown
            })
        );
    }
    house.events_to("conference-destroy").await;
    assert_eq!(
        held.join(house.media.leg(), mpsc::channel(1).0).await.err(),
        Some(Refusal::Ended)
    );
    assert_eq!(house.reserve().await.err(), Some(Refusal::ShuttingDown));
    house.empty().await;
    house.registry.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_slips_in_while_draining() {
    let house = House::new();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..64 {
        let registry = house.registry.clone();
        let media = Arc::clone(&house.media);
        callers.spawn(async move {
            let room = ConferenceId::from(format!("room-{}", number % 16));
            let caller = Caller::new("call");
            let entry = Entry::DialIn;
            let seat = registry
                .reserve(account(), room, open_settings(), caller, Role::Member, entry)
                .await?;
            let (hang_up, mut hang_ups) = mpsc::channel(1);
            let joined = seat.join(media.leg(), hang_up).await?;
            // A call lives until it is told to end.
            assert_eq!(
                hang_ups.recv().await,
                Some(HangUp {
                    cause: LeaveCause::ServerShutdown
                })
            );
            joined.leave(LeaveCause::ServerShutdown).await;
            Ok::<(), Refusal>(())
        });
    }
    tokio::task::yield_now().await;
    house.registry.drain().await;
    for outcome in callers.join_all().await {
        assert!(
            matches!(outcome, Ok(()) | Err(Refusal::Ended | Refusal::ShuttingDown)),
            "{outcome:?}"
        );
    }
    house.empty().await;
}

#[tokio::test]
async fn a_slow_subscriber_misses_the_oldest_and_goes_on() {
    let mut house = House::new();
    let _guest = house.guest().await;
    let locks = EVENTS as u64 + 10;
    for _ in 0..locks {
        house.control(Control::Lock).await.expect("it runs");
    }
    let first = house.events.recv().await.expect("the bus lives");
    assert_eq!(house.registry.bus().missed(), first.sequence - 1);
    assert_eq!(first.sequence, 2 + locks - EVENTS as u64 + 1);
}

/// A place for log lines that tests can read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_tells_of_events_without_names_numbers_and_call_ids() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(log);
    let house = House::new();
    let caller = Caller {
        caller_id_name: "Ada Lovelace".into(),
        caller_id_number: "4930123456".into(),
        ..Caller::new("a84b4c76@203.0.113.9")
    };
    let events = house.registry.bus().subscribe();
    let seat = house
        .registry
        .reserve(
            account(),
            conference(),
            open_settings(),
            caller,
            Role::Member,
            Entry::DialIn,
        )
        .await
        .expect("a place");
    let guest = house.sit(seat).await;
    house.control(Control::Mute(guest.id())).await.expect("it runs");
    guest.participant.leave(LeaveCause::MediaTimeout).await;
    house.empty().await;
    drop(house);
    log_events(events).await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for told in [
        "conference-create",
        "add-member",
        "mute-member",
        "del-member",
        "media_timeout",
    ] {
        assert!(text.contains(told), "{told} is missing in:\n{text}");
    }
    for hidden in ["Ada", "4930123456", "a84b4c76", "203.0.113.9"] {
        assert!(!text.contains(hidden), "{hidden} is in:\n{text}");
    }
    let quiet = text.lines().find(|line| line.contains("mute-member")).unwrap();
    assert!(quiet.contains("DEBUG"));
}
