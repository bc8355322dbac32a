//! Requests that meet: two writers of one document, a deletion while the conference runs, a kick while somebody joins. Whoever is
//! first, everybody gets a clear answer and what is left fits together.

use std::sync::Barrier;
use std::thread;

use confab_testkit::agent::{AudioOffer, Invite};
use serde_json::{Value, json};

use crate::fixture::{Room, SOON, is_error, is_success, site, soon};

const WRITERS: usize = 8;

#[test]
fn races_of_writers_lose_nothing_and_one_of_those_who_expect_a_revision_wins() {
    let path = site().conference(json!({"name": "A"}));
    let tag = site().get(&path).header("etag").expect("a tag").to_owned();
    let together = Barrier::new(WRITERS);
    let won: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let (path, tag, together) = (&path, &tag, &together);
                scope.spawn(move || {
                    let body = json!({"data": {"name": format!("writer {n}")}});
                    together.wait();
                    let answer = site().ask_with("PATCH", path, &[("If-Match", tag)], &body);
                    if answer.status == 200 {
                        return 1;
                    }
                    is_error(&answer, 409, "datastore_conflict");
                    0
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("no panic"))
            .sum()
    });
    assert_eq!(won, 1);
    thread::scope(|scope| {
        for n in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                let body = json!({"data": {"keys": {(format!("k{n}")): n}}});
                is_success(&site().ask("PATCH", path, &body), 200);
            });
        }
    });
    let read = site().get(&path);
    let keys = is_success(&read, 200)["keys"]
        .as_object()
        .map(serde_json::Map::len);
    assert_eq!(keys, Some(WRITERS));
    let revision = read.json()["revision"].as_str().expect("a revision").to_owned();
    assert!(revision.starts_with(&format!("{}-", WRITERS + 2)), "{revision}");
}

#[test]
fn races_for_one_number_have_one_winner() {
    let number = crate::fixture::number();
    let together = Barrier::new(WRITERS);
    let made: usize = thread::scope(|scope| {
        let makers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (number, together) = (&number, &together);
                scope.spawn(move || {
                    together.wait();
                    let body = json!({"data": {"conference_numbers": [number]}});
                    let answer = site().ask("PUT", "/conferences", &body);
                    if answer.status == 201 {
                        return 1;
                    }
                    is_error(&answer, 400, "validation error");
                    0
                })
            })
            .collect();
        makers
            .into_iter()
            .map(|maker| maker.join().expect("no panic"))
            .sum()
    });
    assert_eq!(made, 1);
}

#[test]
fn races_of_deletions_have_one_winner_and_the_running_conference_stays() {
    let room = Room::new(json!({}));
    let ann = room.member("ann");
    let together = Barrier::new(WRITERS);
    let deleted: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (path, together) = (&room.path, &together);
                scope.spawn(move || {
                    together.wait();
                    let answer = site().ask("DELETE", path, &Value::Null);
                    if answer.status == 200 {
                        return 1;
                    }
                    is_error(&answer, 404, "bad_identifier");
                    0
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("no panic")).sum()
    });
    assert_eq!(deleted, 1);
    assert_eq!(room.live()["participant_count"], 1);
    is_success(&room.act_on(&ann, "mute"), 202);
    is_success(&room.act_on_all("kick"), 202);
    ann.participant.call.wait_request("BYE", SOON).expect("a BYE");
    soon("the end", || {
        (room.site.get(&room.path).status == 404).then_some(())
    });
}

#[test]
fn races_of_kicks_and_joins_leave_no_one_between() {
    let room = Room::new(json!({}));
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let calls: Vec<_> = thread::scope(|scope| {
        let kicker = scope.spawn(|| {
            for _ in 0..60 {
                let answer = room.act_on_all("kick");
                is_success(&answer, 202);
                for participant in room.participants() {
                    let one = format!("/participants/{}", participant["participant_id"]);
                    let answer = room.put(&one, &json!({"data": {"action": "kick"}}));
                    // He may have gone since.
                    assert!([202, 404].contains(&answer.status), "{}", answer.text());
                }
            }
        });
        let calls: Vec<_> = (0..40)
            .map(|_| {
                let call = room.phone.invite(Invite::to(&room.number, &offer)).expect("sent");
                let _ = call.wait_answer(SOON);
                call
            })
            .collect();
        kicker.join().expect("no panic");
        calls
    });
    is_success(&room.act_on_all("kick"), 202);
    for call in &calls {
        soon("the end of every call", || call.ended_by_server().then_some(()));
    }
    soon("an empty conference", || {
        room.participants().is_empty().then_some(())
    });
    assert_eq!(room.live()["participant_count"], 0);
    // And it goes on working.
    room.member("later");
}
