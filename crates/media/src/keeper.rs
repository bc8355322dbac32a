//! The keeper: a thread beside the shards that frees what they give back, hands legs on, forwards events to the
//! application, and does for dropped handles what a `drop` cannot wait for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::mpsc as async_mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use crate::control::PlaneShared;
use crate::event::MediaEvent;
use crate::ports::LegSockets;
use crate::shard::command::{Command, Returned};
use crate::shard::key::{ConferenceKey, LegKey};

/// How often the rings are emptied while anything runs.
const ROUND: Duration = Duration::from_millis(5);

/// How often while nothing runs; the opening of a leg ends the rest at once.
const REST: Duration = Duration::from_millis(500);

/// What a dropped handle leaves to be done.
pub(crate) enum Task {
    CloseLeg { shard: usize, at: LegKey },
    RemoveConference { shard: usize, at: ConferenceKey },
}

/// The receiving ends of one shard's rings.
pub(crate) struct Inbox {
    pub(crate) events: rtrb::Consumer<MediaEvent>,
    pub(crate) returned: rtrb::Consumer<Returned<LegSockets>>,
}

/// The keeper's state.
pub(crate) struct Keeper {
    plane: Arc<PlaneShared>,
    inboxes: Vec<Inbox>,
    tasks: mpsc::Receiver<Task>,
    /// Tasks whose shard had no room for a command.
    waiting: VecDeque<Task>,
    events: async_mpsc::Sender<MediaEvent>,
}

impl Keeper {
    pub(crate) fn new(
        plane: Arc<PlaneShared>,
        inboxes: Vec<Inbox>,
        tasks: mpsc::Receiver<Task>,
        events: async_mpsc::Sender<MediaEvent>,
    ) -> Self {
        Keeper {
            plane,
            inboxes,
            tasks,
            waiting: VecDeque::new(),
            events,
        }
    }

    /// Keeps until told to stop, and then empties the rings a last time.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            self.round();
            if self.plane.is_in_use() || !self.waiting.is_empty() {
                std::thread::sleep(ROUND);
            } else {
                std::thread::park_timeout(REST);
            }
        }
        self.round();
    }

    fn round(&mut self) {
        self.waiting.extend(self.tasks.try_iter());
        for _ in 0..self.waiting.len() {
            if let Some(task) = self.waiting.pop_front()
                && let Err(task) = self.attempt(task)
            {
                self.waiting.push_back(task);
            }
        }
        for inbox in &mut self.inboxes {
            while let Ok(returned) = inbox.returned.pop() {
                match returned {
                    // Whoever waited may be gone: then the leg is closed here.
                    Returned::Leg { leg, reply } => drop(reply.send(leg)),
                    Returned::NoLeg { reply } => drop(reply),
                    Returned::Joined {
                        reply,
                        outcome,
                        spare,
                    } => {
                        drop(spare);
                        // Whoever waited may be gone.
                        let _ = reply.send(outcome);
                    }
                    Returned::Garbage(garbage) => drop(garbage),
                }
            }
            forward(&mut inbox.events, &self.events);
        }
    }

    /// Carries a task out, or gives it back when its shard has no room.
    fn attempt(&self, task: Task) -> Result<(), Task> {
        match task {
            Task::CloseLeg { shard, at } => {
                let shard = &self.plane.shards[shard];
                let (reply, _nobody_waits) = oneshot::channel();
                match shard.try_command(Command::TakeLeg { at, bye: true, reply }) {
                    Ok(Err(_)) => return Err(task),
                    Ok(Ok(())) => shard.leg_left(at),
                    Err(_stopped) => {}
                }
            }
            Task::RemoveConference { shard, at } => {
                let shard = &self.plane.shards[shard];
                match shard.try_command(Command::RemoveConference { at }) {
                    Ok(Err(_)) => return Err(task),
                    Ok(Ok(())) => shard.conference_left(at),
                    Err(_stopped) => {}
                }
            }
        }
        Ok(())
    }
}

/// Hands events on as far as the application takes them. What it leaves stays in the ring, and when that is full the
/// shard keeps the state itself. An application that dropped its end wants no events.
fn forward(ring: &mut rtrb::Consumer<MediaEvent>, events: &async_mpsc::Sender<MediaEvent>) {
    while !ring.is_empty() {
        match events.try_reserve() {
            Ok(permit) => {
                if let Ok(event) = ring.pop() {
                    permit.send(event);
                }
            }
            Err(TrySendError::Full(())) => return,
            Err(TrySendError::Closed(())) => drop(ring.pop()),
        }
    }
}
