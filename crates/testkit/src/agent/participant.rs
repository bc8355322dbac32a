//! Owns one whole test participant: a call and the audio stream that belongs to it, and how it comes in.

use std::time::Duration;

use super::{AgentError, AudioOffer, Call, Invite, Phone, RemoteAudio};
use crate::codec::Codec;
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
    /// Calls `number`, again when refused for overload, waits for the answer and starts to send `source`, in its codec; without a source the participant only listens.
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
        let codecs = match &source {
            Some(source) => vec![source.codec()],
            None => vec![Codec::Pcmu, Codec::Pcma],
        };
        let joining = Joining {
            codecs,
            source,
            caller: (caller_number.to_owned(), caller_name.to_owned()),
            ..Joining::default()
        };
        joining.join(phone, engine, number)
    }

    /// Types keys, `0`–`9`, `*` and `#`, one after the other, as telephone-events of payload type 101.
    ///
    /// # Errors
    /// As for [`Stream::press`].
    pub fn types(&self, keys: &str) -> std::io::Result<()> {
        for key in keys.chars() {
            let event = match key {
                '*' => 10,
                '#' => 11,
                digit => digit.to_digit(10).map_or(0, |digit| digit as u8),
            };
            self.stream.press(101, event)?;
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
        Ok(())
    }

    /// Ends the call, waits for the answer to the BYE and closes the stream.
    pub fn leave(&self) -> Result<(), AgentError> {
        self.call.bye(ANSWER_TIMEOUT)?;
        self.stream.close();
        Ok(())
    }
}

/// How a participant is to come in.
#[derive(Debug, Clone)]
pub struct Joining {
    /// What is offered, best first.
    pub codecs: Vec<Codec>,
    /// Packet time in ms, of what is sent and what is asked for.
    pub ptime_ms: u32,
    /// What is sent from the answer on; a source of another codec than the agreed one is sent all the same.
    pub source: Option<Source>,
    /// Telephone-events are offered.
    pub telephone_events: bool,
    /// Parameters that Opus is offered with.
    pub opus_parameters: String,
    /// Number and name of the caller.
    pub caller: (String, String),
}

impl Default for Joining {
    /// PCMU, 20 ms, nothing to say.
    fn default() -> Self {
        Self {
            codecs: vec![Codec::Pcmu],
            ptime_ms: 20,
            source: None,
            telephone_events: true,
            opus_parameters: "useinbandfec=1".to_owned(),
            caller: ("agent".to_owned(), "agent".to_owned()),
        }
    }
}

impl Joining {
    /// Offers one codec.
    pub fn with(codec: Codec) -> Self {
        Self {
            codecs: vec![codec],
            ..Self::default()
        }
    }

    /// Sets the packet time in ms.
    #[must_use]
    pub fn ptime(mut self, ptime_ms: u32) -> Self {
        self.ptime_ms = ptime_ms;
        self
    }

    /// Sends this.
    #[must_use]
    pub fn sends(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Offers no telephone-events: keys can be told in the audio, or by INFO.
    #[must_use]
    pub fn without_telephone_events(mut self) -> Self {
        self.telephone_events = false;
        self
    }

    /// Calls under this number, which is the name as well.
    #[must_use]
    pub fn caller(mut self, number: &str) -> Self {
        self.caller = (number.to_owned(), number.to_owned());
        self
    }

    /// Calls `number`, again when refused for overload, waits for the answer and starts to send.
    pub fn join(self, phone: &Phone, engine: &RtpEngine, number: &str) -> Result<Participant, AgentError> {
        let stream = engine.open(phone.local_addr().ip())?;
        let mut offer = AudioOffer::new(stream.local_addr())
            .codecs(&self.codecs)
            .ptime(self.ptime_ms);
        offer.telephone_events = self.telephone_events;
        offer.opus_parameters = self.opus_parameters;
        let (caller_number, caller_name) = self.caller;
        let mut refused = 0;
        let (call, remote) = loop {
            let call = phone.invite(Invite::to(number, &offer).caller(&caller_number, &caller_name))?;
            match call.wait_answer(ANSWER_TIMEOUT) {
                Err(AgentError::Refused(line)) if line.contains("503") && refused < RETRIES => {
                    refused += 1;
                    std::thread::sleep(RETRY_AFTER);
                }
                outcome => break (call, outcome?),
            }
        };
        stream.set_formats(&offer.formats);
        stream.set_ptime(self.ptime_ms);
        stream.set_remote(remote.address);
        stream.set_source(self.source);
        Ok(Participant {
            call,
            stream,
            offer,
            remote,
            refused,
        })
    }
}
