//! Call detail records: one JSON line per leg, appended to `cdr.jsonl` in the data directory at the leg's end.
//!
//! Owns the file and its writer task. A record is never dropped: when the disk is slow the ending call waits for a
//! place in the queue (256 records). When the disk refuses, or the call cannot wait because its task is cut off, the record
//! goes to the log instead, at ERROR.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt as _,
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};

/// Longest text of a record that the peer has chosen, octets.
const LONGEST_TEXT: usize = 256;
/// Stands at the end of a text that was longer.
const CUT: &str = "…";

/// Returns `text` cut to 256 octets; one that was longer ends in `…`.
pub(crate) fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT - CUT.len()));
        text.push_str(CUT);
    }
    text
}

/// What is kept of one leg.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    /// The call's name in the log, such as `call#7`; unique within one run of the server.
    pub(crate) call: String,
    /// SIP Call-ID of the leg.
    pub(crate) call_id: String,
    /// `inbound` or `outbound`.
    pub(crate) direction: &'static str,
    /// Account that the call was assigned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_id: Option<String>,
    /// Conference that the call was routed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conference_id: Option<String>,
    /// Participant id, when it joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) participant_id: Option<u64>,
    /// User part of the caller's From header.
    pub(crate) from: String,
    /// User part of the request URI.
    pub(crate) to: String,
    /// Address that the INVITE came from.
    pub(crate) remote: String,
    /// When the INVITE arrived, RFC 3339 UTC.
    pub(crate) started: String,
    /// Milliseconds from INVITE to 200, when answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answered_after_ms: Option<u64>,
    /// Milliseconds from INVITE to the end.
    pub(crate) duration_ms: u64,
    /// Final SIP status of the INVITE.
    pub(crate) status: u16,
    /// What ended the call.
    pub(crate) end_cause: String,
    /// Media figures, when the leg had media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media: Option<Media>,
}

/// Media figures of a leg.
#[derive(Debug, Serialize)]
pub(crate) struct Media {
    /// Codec name as in SDP.
    pub(crate) codec: String,
    /// RTP packets taken from the peer.
    pub(crate) packets_received: u64,
    /// RTP packets sent to the peer.
    pub(crate) packets_sent: u64,
    /// RTP packets that never came.
    pub(crate) packets_lost: u64,
    /// RTP packets that came too late to be played.
    pub(crate) packets_late: u64,
    /// Interarrival jitter at the end, ms (RFC 3550 §6.4.1).
    pub(crate) jitter_ms: f64,
    /// Audio that was made up for lost or late packets, ms.
    pub(crate) concealed_ms: u64,
    /// Lost audio that later packets brought back, ms.
    pub(crate) repaired_ms: u64,
    /// Mean opinion score of what was received, 1 to 4.5, over its last five seconds with audio (ITU-T G.107).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mos: Option<f64>,
    /// Speed of the peer's clock against ours, parts per million.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skew_ppm: Option<i32>,
    /// Share of our packets that the peer last reported as lost, percent.
    pub(crate) remote_loss: f64,
    /// Round trip by RTCP, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round_trip_ms: Option<f64>,
    /// Presses of keys, each counted once.
    pub(crate) digits: u64,
}

enum Job {
    Write(Box<Record>),
    Reopen,
}

/// Where calls hand in their records.
#[derive(Clone)]
pub(crate) struct Cdr(mpsc::Sender<Job>);

impl Cdr {
    /// Opens `cdr.jsonl` in `data_dir` for appending and starts its writer. The writer ends when every `Cdr` is
    /// dropped and the queue is written.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) async fn open(data_dir: &Path) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let path = data_dir.join("cdr.jsonl");
        let file = open(&path).await?;
        let (sender, jobs) = mpsc::channel(256);
        Ok((Self(sender), tokio::spawn(write(path, file, jobs))))
    }

    /// Waits for room for one record.
    pub(crate) async fn place(&self) -> RecordPlace<'_> {
        // The writer lives as long as any sender, so there is a place while `self` exists.
        RecordPlace(self.0.reserve().await.ok())
    }

    /// Queues one record without waiting for room; when there is none, it goes to the log.
    pub(crate) fn write_now(&self, record: Record) {
        if let Err(error) = self.0.try_send(Job::Write(Box::new(record))) {
            let reason = error.to_string();
            let (TrySendError::Full(job) | TrySendError::Closed(job)) = error;
            if let Job::Write(record) = job {
                log_instead(&line(&record), &reason);
            }
        }
    }

    /// Opens the file again by its name, for log rotation.
    pub(crate) async fn reopen(&self) {
        let _ = self.0.send(Job::Reopen).await;
    }
}

/// Room in the queue for one record.
pub(crate) struct RecordPlace<'a>(Option<mpsc::Permit<'a, Job>>);

impl RecordPlace<'_> {
    /// Queues the record.
    pub(crate) fn write(self, record: Record) {
        if let Some(permit) = self.0 {
            permit.send(Job::Write(Box::new(record)));
        }
    }
}

/// Returns a record as a line of the file.
fn line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("a record has no map with odd keys");
    line.push(b'\n');
    line
}

fn log_instead(line: &[u8], reason: &str) {
    let record = String::from_utf8_lossy(line);
    tracing::error!(reason, record = record.trim_end(), "CDR not written");
}

async fn open(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    options.mode(0o640);
    options
        .open(path)
        .await
        .with_context(|| format!("cannot open {} for appending", path.display()))
}

async fn write(path: PathBuf, mut file: File, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Reopen => match open(&path).await {
                Ok(reopened) => file = reopened,
                Err(error) => tracing::error!(%error, "CDR file not reopened, going on with the old one"),
            },
            Job::Write(record) => {
                let line = line(&record);
                let written = async {
                    file.write_all(&line).await?;
                    file.flush().await
                };
                if let Err(error) = written.await {
                    log_instead(&line, &error.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(call_id: &str) -> Record {
        Record {
            call: "call#1".to_owned(),
            call_id: call_id.to_owned(),
            direction: "inbound",
            account_id: None,
            conference_id: None,
            participant_id: None,
            from: "100".to_owned(),
            to: "3000".to_owned(),
            remote: "127.0.0.1:5070".to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            answered_after_ms: None,
            duration_ms: 5,
            status: 404,
            end_cause: "refused".to_owned(),
            media: None,
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(shortened("a".repeat(256)), "a".repeat(256));
        assert_eq!(shortened("a".repeat(257)), format!("{}…", "a".repeat(253)));
        let cut = shortened("ä".repeat(5000));
        assert_eq!(cut, format!("{}…", "ä".repeat(126)));
    }

    #[tokio::test]
    async fn each_record_is_one_json_line_and_a_rotated_file_is_replaced() {
        let directory = std::env::temp_dir().join(format!("confab-cdr-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("cdr.jsonl");
        let (cdr, writer) = Cdr::open(&directory).await.unwrap();
        cdr.place().await.write(record("a"));
        cdr.place().await.write(record("b"));
        cdr.reopen().await;
        cdr.place().await.write(record("c"));
        drop(cdr);
        writer.await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let ids: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["call_id"].to_string())
            .collect();
        assert_eq!(ids, ["\"a\"", "\"b\"", "\"c\""]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
