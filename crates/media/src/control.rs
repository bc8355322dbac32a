//! The control side's view of the shards: where there is room, how commands get in. Holds no audio and no socket.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::Thread;
use std::time::Duration;

use confab_rtp::IpNet;

use crate::config::Latch;
use crate::error::ControlError;
use crate::keeper::Task;
use crate::ports::{LegSockets, Ports};
use crate::shard::command::Command;
use crate::shard::key::{ConferenceKey, LegKey, Places};
use crate::shard::queues::ShardQueues;
use crate::shard::thread::ThreadSignals;

/// How long to wait before looking again whether a full command ring has room: a shard empties it every 5 ms.
const RING_FULL_WAIT: Duration = Duration::from_millis(1);

/// How many legs one conference counts for when shards are compared.
const CONFERENCE_WEIGHT: usize = 8;

/// One shard, seen from outside.
pub(crate) struct ShardControl {
    pub(crate) queues: Arc<ShardQueues<LegSockets>>,
    pub(crate) signals: Arc<ThreadSignals>,
    pub(crate) legs: Mutex<Places>,
    pub(crate) conferences: Mutex<Places>,
}

impl ShardControl {
    /// Queues a command, waiting while the ring is full.
    pub(crate) async fn command(&self, command: Command<LegSockets>) -> Result<(), ControlError> {
        let mut command = command;
        while let Err(refused) = self.try_command(command)? {
            command = refused;
            tokio::time::sleep(RING_FULL_WAIT).await;
        }
        Ok(())
    }

    /// Queues a command, or gives it back when the ring is full.
    #[allow(clippy::result_large_err)] // the command itself comes back
    pub(crate) fn try_command(
        &self,
        command: Command<LegSockets>,
    ) -> Result<Result<(), Command<LegSockets>>, ControlError> {
        if self.queues.is_stopped() {
            return Err(ControlError::Stopped);
        }
        let pushed = self.queues.commands.push(command);
        if self.queues.is_stopped() {
            self.queues.stop(); // the shard may have gone before it saw the command
            return Err(ControlError::Stopped);
        }
        if pushed.is_ok() {
            self.signals.queued();
        }
        Ok(pushed)
    }

    /// Takes a place for a leg.
    pub(crate) fn place_leg(&self) -> Option<LegKey> {
        lock(&self.legs)
            .take()
            .map(|(index, generation)| LegKey { index, generation })
    }

    /// Gives a leg's place back once the command to take the leg away is queued.
    pub(crate) fn leg_left(&self, at: LegKey) {
        lock(&self.legs).give_back(at.index);
    }

    /// Takes a place for a conference.
    pub(crate) fn place_conference(&self) -> Option<ConferenceKey> {
        lock(&self.conferences)
            .take()
            .map(|(index, generation)| ConferenceKey { index, generation })
    }

    /// Gives a conference's place back once the command to remove it is queued.
    pub(crate) fn conference_left(&self, at: ConferenceKey) {
        lock(&self.conferences).give_back(at.index);
    }

    /// Returns how busy the shard is, for comparison: measured load first, in steps of 5 %, then what it owns.
    fn busyness(&self) -> (u32, usize) {
        let owned = lock(&self.legs).in_use() + CONFERENCE_WEIGHT * lock(&self.conferences).in_use();
        (self.queues.counters.load_permille.load(Relaxed) / 50, owned)
    }
}

/// What the handles, the keeper and the plane share.
pub(crate) struct PlaneShared {
    pub(crate) shards: Vec<ShardControl>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) latch: Latch,
    pub(crate) local_nets: Vec<IpNet>,
    pub(crate) max_delay: Duration,
    pub(crate) timeout: Duration,
    /// Blocks of audio that taps had no room for.
    pub(crate) tap_blocks_dropped: Arc<AtomicU64>,
    next_id: AtomicU64,
    /// Tasks for the keeper, and its thread to be woken.
    keeper: Mutex<Option<(mpsc::Sender<Task>, Thread)>>,
}

impl PlaneShared {
    pub(crate) fn new(
        shards: Vec<ShardControl>,
        ports: Arc<Ports>,
        latch: Latch,
        local_nets: &[(IpAddr, u8)],
        max_delay: Duration,
        timeout: Duration,
    ) -> Self {
        PlaneShared {
            shards,
            ports,
            latch,
            local_nets: local_nets
                .iter()
                .filter_map(|&(ip, prefix)| IpNet::new(ip, prefix))
                .collect(),
            max_delay,
            timeout,
            tap_blocks_dropped: Arc::default(),
            next_id: AtomicU64::new(1),
            keeper: Mutex::new(None),
        }
    }

    /// Returns a number that was not returned before.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// Returns the shards that run, the least busy first.
    pub(crate) fn least_busy(&self) -> Vec<usize> {
        let mut running: Vec<_> = (0..self.shards.len())
            .filter(|&shard| !self.shards[shard].queues.is_stopped())
            .collect();
        running.sort_by_key(|&shard| self.shards[shard].busyness());
        running
    }

    pub(crate) fn set_keeper(&self, keeper: Option<(mpsc::Sender<Task>, Thread)>) {
        *lock(&self.keeper) = keeper;
    }

    /// Leaves something to the keeper that cannot be waited for here. Without a keeper the plane has stopped, and there
    /// is nothing to do.
    pub(crate) fn leave_to_keeper(&self, task: Task) {
        if let Some((tasks, thread)) = &*lock(&self.keeper) {
            // A keeper that is gone has stopped with the plane.
            drop(tasks.send(task));
            thread.unpark();
        }
    }

    /// Ends the keeper's rest: there is something to keep.
    pub(crate) fn wake_keeper(&self) {
        if let Some((_, thread)) = &*lock(&self.keeper) {
            thread.unpark();
        }
    }

    /// Returns whether any leg or conference exists.
    pub(crate) fn is_in_use(&self) -> bool {
        self.ports.in_use() > 0
            || self
                .shards
                .iter()
                .any(|shard| lock(&shard.conferences).in_use() > 0)
    }
}

/// Locks; what these locks guard is never left half changed, so a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
