//! Extended RTCP reports in descriptions: `a=rtcp-xr` (RFC 3611 §5.1). Owns the attribute's text; the reports themselves
//! are the media plane's.
//!
//! Each side names the reports that it would like to be sent. Metrics are sent to whoever names them; the round trip is
//! measured when both name it, in the offer's manner (§5.2).

use crate::description::{Attribute, MediaDescription, SessionDescription};
use crate::stream::ExtendedReports;

const NAME: &str = "rtcp-xr";
const VOIP_METRICS: &str = "voip-metrics";
const RECEIVER_ROUND_TRIP: &str = "rcvr-rtt";

/// Who answers reference times: everybody, or only who sends audio. A conference does both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answering {
    All,
    Sender,
}

/// What one description says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NamedReports {
    voip_metrics: bool,
    round_trip: Option<Answering>,
}

impl NamedReports {
    /// All that we can do, or nothing.
    pub(crate) fn offered(enabled: bool) -> Self {
        NamedReports {
            voip_metrics: enabled,
            round_trip: enabled.then_some(Answering::All),
        }
    }

    /// Reads the attributes of a stream; those of the session hold when it has none. Formats that are not known are
    /// passed over.
    pub(crate) fn read(description: &SessionDescription, media: &MediaDescription) -> Self {
        let mut named = NamedReports::default();
        let mut own = media.attributes_named(NAME).peekable();
        if own.peek().is_some() {
            own.for_each(|value| named.take(value));
        } else if let Some(value) = description.attribute(NAME) {
            named.take(value);
        }
        named
    }

    fn take(&mut self, value: &str) {
        for format in value.split_whitespace() {
            let (name, argument) = format.split_once('=').unwrap_or((format, ""));
            if name.eq_ignore_ascii_case(VOIP_METRICS) {
                self.voip_metrics = true;
            } else if name.eq_ignore_ascii_case(RECEIVER_ROUND_TRIP) {
                // A size of the blocks may follow the mode.
                let mode = argument.split(':').next().unwrap_or_default();
                self.round_trip = match mode {
                    mode if mode.eq_ignore_ascii_case("sender") => Some(Answering::Sender),
                    mode if mode.eq_ignore_ascii_case("all") => Some(Answering::All),
                    _ => self.round_trip,
                };
            }
        }
    }

    /// What is left of an offer for its answer.
    pub(crate) fn answered(self, enabled: bool) -> Self {
        if enabled { self } else { NamedReports::default() }
    }

    /// What the two sides of an exchange agree on.
    pub(crate) fn agreed(self, other: Self) -> ExtendedReports {
        ExtendedReports {
            voip_metrics: self.voip_metrics && other.voip_metrics,
            receiver_round_trip: self.round_trip.is_some() && other.round_trip.is_some(),
        }
    }

    /// The attribute; `None` when there is nothing to name.
    pub(crate) fn attribute(self) -> Option<Attribute> {
        let metrics = self.voip_metrics.then_some(VOIP_METRICS);
        let round_trip = self.round_trip.map(|answering| match answering {
            Answering::All => "rcvr-rtt=all",
            Answering::Sender => "rcvr-rtt=sender",
        });
        let formats: Vec<_> = metrics.into_iter().chain(round_trip).collect();
        (!formats.is_empty()).then(|| Attribute::with_value(NAME, formats.join(" ")))
    }
}
