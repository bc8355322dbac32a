//! Owns the participants: calls and streams to the server, or streams alone to a reflector.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use confab_testkit::agent::{Joining, Participant, Phone};
use confab_testkit::rtp::{RtpEngine, Stream};
use confab_testkit::server::{ConferenceControl, Server};
use serde_json::json;

use super::Scenario;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FIRST_NUMBER: usize = 200_000;
/// Who dials these comes in muted.
const FIRST_MUTED_NUMBER: usize = 300_000;

/// Streams that send and receive.
pub struct Crowd {
    /// All streams.
    pub streams: Vec<Stream>,
}

/// A crowd inside conferences.
pub struct ServerCrowd {
    /// The streams, to be measured.
    pub crowd: Crowd,
    participants: Vec<Participant>,
    /// Time from INVITE to 200 of each call, sorted.
    pub answer_times: Vec<Duration>,
    /// Calls set up per second.
    pub calls_per_second: f64,
    /// Calls refused with 503 and tried again.
    pub refused: u32,
}

impl Crowd {
    /// Sends to one address each, everybody as in one room of the scenario.
    pub fn towards(engine: &RtpEngine, scenario: &Scenario, addresses: &[SocketAddr]) -> Result<Self> {
        let mut streams = Vec::with_capacity(addresses.len());
        let parts = scenario.parts();
        for (part, address) in parts.iter().cycle().zip(addresses) {
            let stream = engine.open(LOCAL)?;
            stream.set_remote(*address);
            stream.set_source(part.source.clone());
            streams.push(stream);
        }
        Ok(Self { streams })
    }

    /// Returns packets sent, received and missing so far, over all streams.
    pub fn counts(&self) -> (u64, u64, u64) {
        self.streams
            .iter()
            .map(Stream::counts)
            .fold((0, 0, 0), |sum, counts| {
                (
                    sum.0 + counts.sent,
                    sum.1 + counts.received,
                    sum.2 + counts.missing,
                )
            })
    }

    /// Stops sending, or goes on.
    pub fn set_paused(&self, paused: bool) {
        self.streams.iter().for_each(|stream| stream.set_paused(paused));
    }

    /// Closes all streams.
    pub fn close(&self) {
        self.streams.iter().for_each(Stream::close);
    }
}

impl ServerCrowd {
    /// Creates the conferences and calls into them, one call after the other.
    pub fn join(server: &Server, phone: &Phone, engine: &RtpEngine, scenario: &Scenario) -> Result<Self> {
        let api = server.api().context("logging in")?;
        for room in 0..scenario.rooms {
            let number = (FIRST_NUMBER + room).to_string();
            let muted_number = (FIRST_MUTED_NUMBER + room).to_string();
            let document = json!({
                "member": {"numbers": [number], "join_muted": false},
                "moderator": {"numbers": [muted_number], "join_muted": true},
            });
            ConferenceControl::create(api.clone(), document).context("creating a conference")?;
        }
        let parts = scenario.parts();
        let mut participants = Vec::with_capacity(scenario.participants());
        let started = Instant::now();
        // Room after room fills evenly: the first of each, then the second of each.
        for index in 0..scenario.participants() {
            let (place, room) = (index / scenario.rooms, index % scenario.rooms);
            let part = &parts[place];
            let first = if part.muted {
                FIRST_MUTED_NUMBER
            } else {
                FIRST_NUMBER
            };
            let joining = Joining {
                source: part.source.clone(),
                ..Joining::with(part.codec)
            };
            let participant = joining
                .join(phone, engine, &(first + room).to_string())
                .with_context(|| format!("call {} of {}", index + 1, scenario.participants()))?;
            participants.push(participant);
        }
        let took = started.elapsed();
        let mut answer_times: Vec<Duration> =
            participants.iter().filter_map(|p| p.call.answer_time()).collect();
        answer_times.sort();
        ensure!(
            answer_times.len() == participants.len(),
            "a call without an answer"
        );
        let crowd = Crowd {
            streams: participants
                .iter()
                .map(|participant| participant.stream.clone())
                .collect(),
        };
        let calls_per_second = participants.len() as f64 / took.as_secs_f64();
        let refused = participants.iter().map(|participant| participant.refused).sum();
        Ok(Self {
            crowd,
            refused,
            participants,
            answer_times,
            calls_per_second,
        })
    }

    /// Ends all calls; returns how many the server had ended by itself.
    pub fn leave(self) -> Result<usize> {
        let lost = self
            .participants
            .iter()
            .filter(|participant| participant.call.ended_by_server())
            .count();
        for participant in &self.participants {
            participant.call.bye(Duration::from_secs(20)).context("BYE")?;
        }
        self.crowd.close();
        Ok(lost)
    }
}
