//! Owns one whole test participant: a call and the audio stream that belongs to it.

use std::time::Duration;

use super::{AgentError, AudioOffer, Call, Invite, Phone, RemoteAudio};
use crate::rtp::{RtpEngine, Source, Stream};

/// How long a participant waits for the server to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a call is tried again that was refused with 503, and how long in between: on a machine that stalls, a server protects its
/// running calls for a while.
const RETRIES: u32 = 20;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A call that was answered, and its audio.
pub struct Participant {
    /// The call.
    pub call: Call,
    /// The audio stream, sending since the answer.
    pub stream: Stream,
    /// What was offered.
    pub offer: AudioOffer,
    /// What the server answered.
    pub remote: RemoteAudio,
    /// How many times the call was refused with 503 before.
    pub refused: u32,
}

impl Participant {
    /// Calls `number`, again when refused for overload, waits for the answer and starts to send `source`, in its law; without a source the participant only listens.
    pub fn join(
        phone: &Phone,
        engine: &RtpEngine,
        number: &str,
        source: Option<Source>,
    ) -> Result<Self, AgentError> {
        Self::join_as(phone, engine, number, source, "agent", "agent")
    }

    /// Calls `number` under a given caller number and name.
    pub fn join_as(
        phone: &Phone,
        engine: &RtpEngine,
        number: &str,
        source: Option<Source>,
        caller_number: &str,
        caller_name: &str,
    ) -> Result<Self, AgentError> {
        let stream = engine.open(phone.local_addr().ip())?;
        let mut offer = AudioOffer::new(stream.local_addr());
        if let Some(source) = &source {
            offer = offer.only(source.law());
        }
        let mut refused = 0;
        let (call, remote) = loop {
            let call = phone.invite(Invite::to(number, &offer).caller(caller_number, caller_name))?;
            match call.wait_answer(ANSWER_TIMEOUT) {
                Err(AgentError::Refused(line)) if line.contains("503") && refused < RETRIES => {
                    refused += 1;
                    std::thread::sleep(RETRY_AFTER);
                }
                outcome => break (call, outcome?),
            }
        };
        stream.set_remote(remote.address);
        stream.set_source(source);
        Ok(Self {
            call,
            stream,
            offer,
            remote,
            refused,
        })
    }

    /// Ends the call, waits for the answer to the BYE and closes the stream.
    pub fn leave(&self) -> Result<(), AgentError> {
        self.call.bye(ANSWER_TIMEOUT)?;
        self.stream.close();
        Ok(())
    }
}
