//! What is found on the disk whatever becomes of the server, and how it comes to its document and goes with it.

use std::time::Duration;

use confab_api::RecordingFiles as _;
use confab_conference::AccountId;
use confab_documents::{BootstrapConfig, Kind, Store};
use confab_recording::Stretch;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::part::{Of, Parts};
use super::sheet::{Sheet, Stage, folder};
use super::timeline::{LINES, Line};
use super::*;

const ID: &str = "00000000000000000000000000000abc";

struct Desk {
    data: TempDir,
    store: Store,
    account: AccountId,
    limits: Limits,
}

impl Desk {
    async fn new() -> Desk {
        let data = TempDir::new().unwrap();
        let url = confab_testkit::database::fresh();
        let store = Store::open_with_key(data.path(), &url, None).await.unwrap();
        let first = store.bootstrap(BootstrapConfig::default()).await.unwrap();
        Desk {
            account: first.unwrap().account_id,
            limits: Limits::default(),
            data,
            store,
        }
    }

    fn folder(&self) -> PathBuf {
        folder(&self.data.path().join(FOLDER), self.account.as_str(), ID)
    }

    /// Leaves what a server leaves that is killed in the middle of a recording.
    fn interrupted(&self) {
        let sheet = Sheet {
            id: ID.to_owned(),
            account_id: self.account.to_string(),
            conference_id: "team".to_owned(),
            instance_id: "i".to_owned(),
            name: "conference_team_1".to_owned(),
            started_ms: 1_700_000_000_000,
            rate_hz: 8000,
            tracks: true,
            format: "wav".to_owned(),
            stage: Stage::Recording,
            interrupted: false,
            duration_ms: 0,
            files: Vec::new(),
        };
        let (folder, sheet, mut mix) = make(&self.data.path().join(FOLDER), sheet).unwrap();
        assert_eq!(folder, self.folder());
        let heard = Stretch {
            silence: 800,
            samples: vec![7; 1600],
        };
        mix.write(&heard).unwrap();
        let mut track = Parts::new(&folder, Of::Participant(3), sheet.rate_hz);
        track.write(&heard).unwrap();
        let line = |at_ms, event: &str| Line {
            at_ms,
            event: event.to_owned(),
            participant_id: Some(3),
            who: None,
            length_ms: None,
        };
        let lines = [line(0, "add-member"), line(100, "start-talking")];
        let mut text: String = lines
            .iter()
            .map(|line| serde_json::to_string(line).unwrap() + "\n")
            .collect();
        text.push_str("{\"at_ms\": 12");
        std::fs::write(folder.join(LINES), text).unwrap();
    }

    async fn list(&self) {
        let (ended, to_list) = mpsc::unbounded_channel();
        for one in adopt(self.data.path()) {
            ended.send(one).unwrap();
        }
        drop(ended);
        self.shelf().run(to_list).await;
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(self.data.path(), self.store.clone(), self.limits)
    }
}

#[tokio::test]
async fn what_was_interrupted_is_ended_and_has_a_document_once() {
    let desk = Desk::new().await;
    desk.interrupted();
    for _ in 0..3 {
        desk.list().await;
    }
    let found = desk.store.document(&desk.account, Kind::Media, ID).await.unwrap();
    let body = found.unwrap().body;
    assert_eq!(body["media_source"], "recording");
    assert_eq!(body["content_length"], 44 + 4800);
    let recording = &body["recording"];
    assert_eq!(
        (&recording["interrupted"], &recording["duration_ms"]),
        (&true.into(), &300.into())
    );
    assert_eq!(recording["files"].as_array().unwrap().len(), 2);
    assert!(
        !body.contains_key("source_id"),
        "an ad-hoc conference has no id of ours"
    );
    let timeline = std::fs::read(desk.folder().join("timeline.json")).unwrap();
    let timeline: serde_json::Value = serde_json::from_slice(&timeline).unwrap();
    let expected = serde_json::json!([{"participant_id": 3, "begin_ms": 100, "end_ms": 300}]);
    assert_eq!(timeline["spurts"], expected);
    assert_eq!(timeline["participants"][0]["leave_ms"], 300);
}

#[tokio::test]
async fn a_recording_is_read_by_its_names_and_nothing_else_is() {
    let desk = Desk::new().await;
    desk.interrupted();
    desk.list().await;
    let shelf = desk.shelf();
    let open = async |id: &str, name: Option<&'static str>| {
        let opened = shelf.open(&desk.account, id, name).await.unwrap();
        opened.map(|file| (file.name, file.length))
    };
    assert_eq!(open(ID, None).await, Some(("mix.wav".to_owned(), 4844)));
    let track = open(ID, Some("participant-3.wav")).await;
    assert_eq!(track, Some(("participant-3.wav".to_owned(), 4844)));
    assert!(open(ID, Some("timeline.json")).await.is_some());
    for name in [
        "recording.json",
        "../abc/mix.wav",
        "events.jsonl",
        "",
        "mix.2.wav",
        "/etc/passwd",
    ] {
        assert_eq!(open(ID, Some(name)).await, None, "{name}");
    }
    for id in ["..", "", "00000000000000000000000000000abd", "../x"] {
        assert_eq!(open(id, None).await, None, "{id}");
    }
}

#[tokio::test]
async fn what_is_deleted_does_not_come_back() {
    let desk = Desk::new().await;
    desk.interrupted();
    desk.list().await;
    let shelf = desk.shelf();
    shelf.delete(&desk.account, ID).await.unwrap();
    shelf.delete(&desk.account, ID).await.unwrap();
    assert!(!desk.folder().exists());
    // A server that was killed between the two steps of deleting.
    desk.interrupted();
    let mut gone = desk.folder().into_os_string();
    gone.push(adoption::DELETED);
    std::fs::rename(desk.folder(), &gone).unwrap();
    assert!(adopt(desk.data.path()).is_empty());
    assert!(!Path::new(&gone).exists());
}

#[tokio::test]
async fn what_cannot_be_read_is_left_alone() {
    let desk = Desk::new().await;
    desk.interrupted();
    std::fs::write(desk.folder().join("recording.json"), "{").unwrap();
    assert!(adopt(desk.data.path()).is_empty());
    assert!(desk.folder().join("mix.wav").exists());
}

#[tokio::test]
async fn what_is_too_old_or_too_much_goes_the_oldest_first() {
    let mut desk = Desk::new().await;
    desk.interrupted();
    desk.list().await;
    let sizes: u64 = 2 * 4844;
    let root = desk.data.path().join(FOLDER);
    let day = Duration::from_secs(86_400);
    let ended_ms = 1_700_000_000_300;
    let rows = [
        (Some(day), None, ended_ms + 86_400_000, 0),
        (Some(day), None, ended_ms + 86_400_001, 1),
        (None, Some(sizes), u64::MAX, 0),
        (None, Some(sizes - 1), 0, 1),
        (None, None, u64::MAX, 0),
    ];
    for (age, bytes, now_ms, expected) in rows {
        let found = retention::due(&root, Limits { age, bytes }, now_ms);
        assert_eq!(found.len(), expected, "{age:?} {bytes:?} {now_ms}");
    }
    desk.limits = Limits {
        age: Some(day),
        bytes: None,
    };
    let (ended, to_list) = mpsc::unbounded_channel();
    let shelf = tokio::spawn(desk.shelf().run(to_list));
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while desk.folder().exists() {
        assert!(std::time::Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let document = desk.store.document(&desk.account, Kind::Media, ID).await.unwrap();
    assert_eq!(document, None);
    drop(ended);
    shelf.await.unwrap();
}
