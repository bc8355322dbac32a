//! The media plane as a whole: starting and stopping its threads, opening legs and conferences, telling how it does.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::sync::mpsc as async_mpsc;

use crate::config::{ConferenceMedia, MediaConfig};
use crate::control::{PlaneShared, ShardControl};
use crate::error::{ControlError, MediaError, OpenLegError};
use crate::event::{LegId, MediaEvent};
use crate::handle::{ConferenceMediaHandle, LegHandle};
use crate::io::KernelIo;
use crate::keeper::{Inbox, Keeper};
use crate::leg::{Leg, LegSeed};
use crate::metrics::{MediaAdmission, MediaMetrics, OverloadReason};
use crate::ports::{LegSockets, Ports};
use crate::shard::key::Places;
use crate::shard::queues::{Outbox, ShardQueues};
use crate::shard::thread::{self, ThreadSignals};
use crate::shard::{Capacity, Shard};
use crate::stats::StatsCell;

/// Commands that may wait for a shard; it empties the ring every 5 ms.
const COMMAND_RING: usize = 4096;

/// Events that may wait for the keeper, per shard.
const EVENT_RING: usize = 8192;

/// What may wait to be freed, per shard.
const RETURN_RING: usize = 4096;

/// Events that may wait for the application.
const EVENT_QUEUE: usize = 16_384;

/// Conferences that a shard has places for.
const MAX_CONFERENCES: u32 = 8192;

/// New legs are refused while a shard works more than this share of the time, in 1/1000.
const MAX_LOAD_PERMILLE: u32 = 700;

/// All shards and what they share. Dropping it stops the threads; legs and conferences are dead from then on.
pub struct MediaPlane {
    shared: Arc<PlaneShared>,
    threads: Vec<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    stop_keeper: Arc<AtomicBool>,
    max_lateness_us: u32,
}

impl MediaPlane {
    /// Starts the shard threads. Needs no async runtime.
    ///
    /// # Errors
    /// [`MediaError`] says which address, range or limit stands in the way.
    pub fn start(config: MediaConfig) -> Result<(MediaPlane, MediaEvents), MediaError> {
        let ports = Arc::new(Ports::new(
            &config.bind,
            config.ports.clone(),
            config.dscp,
            rand::random,
        )?);
        let count = if config.shards == 0 {
            default_shards()
        } else {
            config.shards
        };
        let capacity = Capacity {
            legs: ports.total(),
            conferences: ports.total().min(MAX_CONFERENCES),
        };
        let mut built = Vec::new();
        for _ in 0..count {
            built.push(build_shard(capacity)?);
        }
        let mut inboxes = Vec::new();
        let mut shards = Vec::new();
        let mut cores = Vec::new();
        for (shard, control, inbox) in built {
            cores.push(shard);
            shards.push(control);
            inboxes.push(inbox);
        }
        let shared = PlaneShared::new(
            shards,
            ports,
            config.latch,
            &config.local_nets,
            config.max_delay,
            config.timeout,
        );
        let (tasks_in, tasks) = mpsc::channel();
        let (events_in, events) = async_mpsc::channel(EVENT_QUEUE);
        let mut plane = MediaPlane {
            shared: Arc::new(shared),
            threads: Vec::new(),
            keeper: None,
            stop_keeper: Arc::new(AtomicBool::new(false)),
            max_lateness_us: config.max_lateness.map_or(u32::MAX, |bound| {
                u32::try_from(bound.as_micros()).unwrap_or(u32::MAX)
            }),
        };
        for (number, shard) in cores.into_iter().enumerate() {
            plane.threads.push(spawn_shard(number, shard, &plane.shared)?);
        }
        let keeper = Keeper::new(Arc::clone(&plane.shared), inboxes, tasks, events_in);
        let stop = Arc::clone(&plane.stop_keeper);
        let handle = std::thread::Builder::new()
            .name("confab-keeper".to_owned())
            .spawn(move || keeper.run(&stop))?;
        plane.shared.set_keeper(Some((tasks_in, handle.thread().clone())));
        plane.keeper = Some(handle);
        Ok((plane, MediaEvents { events }))
    }

    /// Returns whether there is no free pair of ports for another leg. Pairs that other programs hold are not known of.
    pub fn ports_exhausted(&self) -> bool {
        self.shared.ports.exhausted()
    }

    /// Opens a leg on one of the configured addresses: binds its two sockets. It receives once it is started, and sends
    /// once it has joined a conference.
    ///
    /// # Errors
    /// [`OpenLegError::PortsExhausted`] when every pair of the range is in use; [`OpenLegError::UnknownAddress`];
    /// [`OpenLegError::Socket`] when the system refuses, usually for its limit of open files.
    pub fn open_leg(&self, bind: IpAddr) -> Result<LegHandle, OpenLegError> {
        self.open_leg_on(bind, bind)
    }

    /// [`MediaPlane::open_leg`] on one address of this machine, when the configured one, `bind`, is a wildcard: what the
    /// leg sends then leaves from there, whatever the routes say.
    ///
    /// # Errors
    /// As for [`MediaPlane::open_leg`].
    pub fn open_leg_on(&self, bind: IpAddr, local: IpAddr) -> Result<LegHandle, OpenLegError> {
        let shared = &self.shared;
        let sockets = shared.ports.open(bind, local)?;
        let addresses = sockets.addresses().map_err(OpenLegError::Socket)?;
        let id = LegId(shared.next_id());
        let seed = LegSeed {
            ssrc: rand::random(),
            // Half of the numbers away from a wrap, which a receiver of SRTP must not miss (RFC 3711 §3.3.1).
            first_sequence: rand::random::<u16>() >> 1,
            first_timestamp: rand::random(),
            cname: format!("{:024x}", rand::random::<u128>() >> 32).into(), // RFC 7022 §4.2: 96 random bits
            report_seed: rand::random(),
            timeout: shared.timeout,
        };
        let leg = Leg::new(id, sockets, Arc::new(StatsCell::default()), seed);
        shared.wake_keeper();
        Ok(LegHandle::new(id, addresses, Box::new(leg), Arc::clone(shared)))
    }

    /// Creates the audio of a conference on the least loaded shard. It costs nothing before its first leg
    /// joins or something is played in it.
    ///
    /// # Errors
    /// [`ControlError::Full`] when no shard has room, [`ControlError::Stopped`] when none runs.
    pub fn create_conference(&self, media: ConferenceMedia) -> Result<ConferenceMediaHandle, ControlError> {
        let shared = &self.shared;
        let candidates = shared.least_busy();
        if candidates.is_empty() {
            return Err(ControlError::Stopped);
        }
        let found = candidates
            .into_iter()
            .find_map(|shard| Some((shard, shared.shards[shard].place_conference()?)));
        let (shard, at) = found.ok_or(ControlError::Full)?;
        shared.wake_keeper();
        Ok(ConferenceMediaHandle::new(Arc::clone(shared), shard, at, media))
    }

    /// Returns whether another leg can be taken in without harm to those that run: no shard may start its turns later
    /// than [`MediaConfig::max_lateness`] (99th percentile over 5 s) or work more than 70 % of the time.
    pub fn admission(&self) -> MediaAdmission {
        let overload = self.shared.shards.iter().find_map(|shard| {
            let counters = &shard.queues.counters;
            let p99_us = counters.lateness_p99_us.load(Relaxed);
            let permille = counters.load_permille.load(Relaxed);
            if p99_us > self.max_lateness_us {
                Some(OverloadReason::Lateness { p99_us })
            } else if permille > MAX_LOAD_PERMILLE {
                Some(OverloadReason::Load { permille })
            } else {
                None
            }
        });
        overload.map_or(MediaAdmission::Open, |reason| MediaAdmission::Overloaded {
            reason,
        })
    }

    /// Returns the figures of all shards.
    pub fn metrics(&self) -> MediaMetrics {
        let shared = &self.shared;
        let (legs_opened, legs_closed) = shared.ports.opened_and_closed();
        MediaMetrics {
            shards: (0..)
                .zip(&shared.shards)
                .map(|(number, s)| s.queues.counters.snapshot(number))
                .collect(),
            ports_in_use: shared.ports.in_use(),
            ports_total: shared.ports.total(),
            tap_blocks_dropped: shared.tap_blocks_dropped.load(Relaxed),
            legs_opened,
            legs_closed,
        }
    }
}

impl Drop for MediaPlane {
    fn drop(&mut self) {
        for shard in &self.shared.shards {
            shard.signals.stop();
        }
        for thread in self.threads.drain(..) {
            drop(thread.join()); // a panic was reported by the thread itself
        }
        self.stop_keeper.store(true, Relaxed);
        self.shared.wake_keeper();
        self.shared.set_keeper(None);
        if let Some(keeper) = self.keeper.take() {
            drop(keeper.join());
        }
    }
}

impl std::fmt::Debug for MediaPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaPlane")
            .field("shards", &self.shared.shards.len())
            .finish_non_exhaustive()
    }
}

/// The receiving end of the media plane's events. There is one per plane.
///
/// An application that lags behind loses no state: events wait in queues, and beyond them the legs keep what they have
/// to tell. One that drops this end gets no events.
#[derive(Debug)]
pub struct MediaEvents {
    events: async_mpsc::Receiver<MediaEvent>,
}

impl MediaEvents {
    /// Waits for the next event; `None` when the media plane has stopped. Cancel safe.
    pub async fn recv(&mut self) -> Option<MediaEvent> {
        self.events.recv().await
    }
}

/// One less than the cores, so that signalling keeps one, and at least one.
fn default_shards() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

/// Allocates a shard, the control side's view of it and the receiving ends of its rings.
fn build_shard(capacity: Capacity) -> io::Result<(Shard<KernelIo>, ShardControl, Inbox)> {
    let signals = Arc::new(ThreadSignals::new()?);
    let queues = Arc::new(ShardQueues::<LegSockets>::new(COMMAND_RING));
    let (events_in, events) = rtrb::RingBuffer::new(EVENT_RING);
    let (returned_in, returned) = rtrb::RingBuffer::new(RETURN_RING);
    let outbox = Outbox {
        events: events_in,
        returned: returned_in,
    };
    let shard = Shard::new(KernelIo, Arc::clone(&queues), outbox, capacity);
    let control = ShardControl {
        queues,
        signals,
        legs: Mutex::new(Places::new(capacity.legs)),
        conferences: Mutex::new(Places::new(capacity.conferences)),
    };
    Ok((shard, control, Inbox { events, returned }))
}

fn spawn_shard(number: usize, shard: Shard<KernelIo>, shared: &PlaneShared) -> io::Result<JoinHandle<()>> {
    /// Marks the shard as gone however its thread ends, so that nobody waits for it.
    struct Gone(Arc<ShardQueues<LegSockets>>, usize);
    impl Drop for Gone {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!(
                    shard = self.1,
                    "media shard died: its calls have no audio any more"
                );
            }
            self.0.stop();
        }
    }
    let signals = Arc::clone(&shared.shards[number].signals);
    let gone = Gone(Arc::clone(&shared.shards[number].queues), number);
    std::thread::Builder::new()
        .name(format!("confab-media-{number}"))
        .spawn(move || {
            let _gone = gone;
            thread::run(shard, &signals, number);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_follows_lateness_and_load() {
        let config = MediaConfig {
            bind: vec![[127, 0, 0, 1].into()],
            ports: 21_900..=21_919,
            ..MediaConfig::default()
        };
        let (plane, _events) = MediaPlane::start(config).unwrap();
        let counters = &plane.shared.shards[0].queues.counters;
        let rows = [
            (0, 0, MediaAdmission::Open),
            (5000, MAX_LOAD_PERMILLE, MediaAdmission::Open),
            (
                7500,
                0,
                MediaAdmission::Overloaded {
                    reason: OverloadReason::Lateness { p99_us: 7500 },
                },
            ),
            (
                100,
                701,
                MediaAdmission::Overloaded {
                    reason: OverloadReason::Load { permille: 701 },
                },
            ),
        ];
        for (p99_us, permille, expected) in rows {
            counters.lateness_p99_us.store(p99_us, Relaxed);
            counters.load_permille.store(permille, Relaxed);
            assert_eq!(plane.admission(), expected);
        }
    }

    #[test]
    fn lateness_without_a_bound_refuses_nobody() {
        let config = MediaConfig {
            bind: vec![[127, 0, 0, 1].into()],
            ports: 21_920..=21_939,
            max_lateness: None,
            ..MediaConfig::default()
        };
        let (plane, _events) = MediaPlane::start(config).unwrap();
        let counters = &plane.shared.shards[0].queues.counters;
        counters.lateness_p99_us.store(u32::MAX, Relaxed);
        assert_eq!(plane.admission(), MediaAdmission::Open);
    }
}
