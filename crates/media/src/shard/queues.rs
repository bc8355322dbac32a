//! The rings between a shard and the outside: commands in, events and what is to be freed out. Each says what happens when
//! it is full.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use crossbeam_queue::ArrayQueue;

use super::command::{Command, Returned};
use crate::event::MediaEvent;
use crate::leg::notices::EventSink;
use crate::metrics::ShardCounters;

/// What the outside shares with a shard.
pub(crate) struct ShardQueues<S> {
    /// Commands in; when it is full, the control side waits.
    pub(crate) commands: ArrayQueue<Command<S>>,
    pub(crate) counters: ShardCounters,
    /// Nobody carries out commands any more.
    stopped: AtomicBool,
}

impl<S> ShardQueues<S> {
    pub(crate) fn new(commands: usize) -> Self {
        ShardQueues {
            commands: ArrayQueue::new(commands),
            counters: ShardCounters::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Marks the shard as gone and drops what was queued, so that nobody waits for it.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        while self.commands.pop().is_some() {}
    }

    /// Returns whether the shard is gone. Whoever queued a command just before must then call [`stop`](Self::stop)
    /// again.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }
}

/// The outgoing rings of a shard.
pub(crate) struct Outbox<S> {
    /// Events; when it is full, legs keep their state and levels are left out.
    pub(crate) events: rtrb::Producer<MediaEvent>,
    /// What is to be freed or handed on; when it is full, commands wait.
    pub(crate) returned: rtrb::Producer<Returned<S>>,
}

impl<S> Outbox<S> {
    /// Returns whether something can be given back.
    pub(crate) fn has_room_to_give_back(&self) -> bool {
        !self.returned.is_full()
    }

    /// Gives something back to be freed; while there is no room, it stays where it is.
    pub(crate) fn give_back<T: Send + 'static>(&mut self, spent: &mut Option<Box<T>>) {
        if !self.returned.is_full()
            && let Some(spent) = spent.take()
        {
            // There was room, and this is the only producer.
            drop(self.returned.push(Returned::Garbage(spent)));
        }
    }
}

impl<S> EventSink for Outbox<S> {
    fn event(&mut self, event: MediaEvent) -> bool {
        self.events.push(event).is_ok()
    }

    fn level(&mut self, event: MediaEvent) -> bool {
        self.events.slots() > self.events.buffer().capacity() / 2 && self.event(event)
    }
}
