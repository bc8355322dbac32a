//! An operator with curl and two baresips: create, call, list, mute, kick, lock, as a user of the API does it by hand.

use std::process::Command;
use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Invite, Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipConfig, require};
use confab_testkit::rtp::{Capture, CaptureMode, EngineConfig, RtpEngine, Source, monotonic_ns};
use confab_testkit::server::{
    ACCOUNT_ID, API_KEY, ConferenceControl, Server, ServerBuilder, exclusive, quiet,
};
use serde_json::{Value, json};

const TONE_HZ: f64 = 1000.0;
/// A tone that has lost this much within a packet counts as gone.
const GONE_DB: f64 = 20.0;
/// Interval of the mixer in ms, and the bound from the HTTP answer to the first changed packet that follows from it.
const INTERVAL_MS: f64 = 20.0;
const EFFECT_BOUND_MS: f64 = 2.0 * INTERVAL_MS + 5.0;
const WAIT: Duration = Duration::from_secs(10);

/// Runs curl with one request to the API and returns status and body.
fn curl(server: &Server, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let url = format!("http://{}/v2{path}", server.http);
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "-X",
        method,
        "-w",
        "\n%{http_code}",
        "-H",
        &format!("X-Auth-Token: {token}"),
    ]);
    if !body.is_null() {
        // Without a content type, as the curl lines in KAZOO's documents do.
        command.args(["-d", &body.to_string()]);
    }
    let output = command.arg(&url).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text
        .rsplit_once('\n')
        .unwrap_or_else(|| panic!("curl: {output:?}"));
    (
        status.parse().expect("a status"),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}

fn tone(seconds: usize, level_dbfs: f64) -> Vec<i16> {
    meter::sine(TONE_HZ, level_dbfs, 8000, 0, 8000 * seconds)
}

#[test]
fn the_operator_creates_lists_mutes_kicks_and_locks() {
    let _alone = exclusive();
    require("curl").expect("installed");
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let (status, login) = curl(
        &server,
        "PUT",
        "/api_auth",
        "",
        &json!({"data": {"api_key": API_KEY}}),
    );
    assert_eq!(status, 201, "{login}");
    let token = login["auth_token"].as_str().expect("a token").to_owned();
    let account = format!("/accounts/{ACCOUNT_ID}");
    let mut document =
        json!({"name": "by hand", "conference_numbers": ["4000"], "member": {"join_muted": false}});
    quiet(&mut document);
    let document = json!({ "data": document });
    let (status, created) = curl(
        &server,
        "PUT",
        &format!("{account}/conferences"),
        &token,
        &document,
    );
    assert_eq!(status, 201, "{created}");
    let id = created["data"]["id"].as_str().expect("an id").to_owned();
    let conference = format!("{account}/conferences/{id}");

    let target = format!("sip:4000@{}", server.sip);
    let talking = Baresip::start(&BaresipConfig::new("ann", &target, tone(120, -20.0))).expect("baresip");
    let quiet = Baresip::start(&BaresipConfig::new("bob", &target, vec![0; 8000])).expect("baresip");
    talking.wait_established(WAIT).expect("answered");
    quiet.wait_established(WAIT).expect("answered");
    let control = ConferenceControl::of_number(server.api().expect("a login"), "4000").expect("listed");
    control
        .wait_participants(WAIT, |list| {
            list.len() == 2 && list.iter().filter(|p| p["talking"] == true).count() == 1
        })
        .expect("two participants, one of them talking");

    let (status, list) = curl(
        &server,
        "GET",
        &format!("{conference}/participants"),
        &token,
        &Value::Null,
    );
    assert_eq!(status, 200);
    let participant = |user: &str| {
        let items = list["data"].as_array().expect("an array");
        items
            .iter()
            .find(|item| item["caller_id_number"] == user)
            .unwrap_or_else(|| panic!("no {user} in {list}"))
            .clone()
    };
    let (ann, bob) = (participant("ann"), participant("bob"));
    assert_eq!(
        (&ann["talking"], &bob["talking"]),
        (&json!(true), &json!(false)),
        "{list}"
    );
    assert_eq!(
        (&ann["speak"], &ann["hear"], &ann["conference_name"]),
        (&json!(true), &json!(true), &json!(id))
    );

    let act = |path: &str, action: &str| {
        let (status, answer) = curl(&server, "PUT", path, &token, &json!({"data": {"action": action}}));
        assert_eq!(
            (status, &answer["status"]),
            (202, &json!("success")),
            "{action}: {answer}"
        );
    };
    let ann_path = format!("{conference}/participants/{}", ann["participant_id"]);
    act(&ann_path, "mute");
    control
        .wait_participants(WAIT, |list| list.iter().any(|p| p["speak"] == false))
        .expect("muted");
    act(&ann_path, "unmute");

    act(
        &format!("{conference}/participants/{}", bob["participant_id"]),
        "kick",
    );
    quiet.wait_closed(WAIT).expect("a BYE");
    control
        .wait_participants(WAIT, |list| list.len() == 1)
        .expect("one is left");

    act(&conference, "lock");
    let (_, locked) = curl(&server, "GET", &conference, &token, &Value::Null);
    assert_eq!(locked["data"]["_read_only"]["is_locked"], true, "{locked}");
    let phone = Phone::udp(server.sip).expect("a phone");
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let refused = phone.invite(Invite::to("4000", &offer)).expect("sent");
    let (_, bye) = refused.wait_request("BYE", 2 * WAIT).expect("turned away");
    let reason = bye.header("Reason").unwrap_or_default();
    assert!(reason.contains("cause=480"), "{reason}");
    act(&conference, "unlock");
    let admitted = phone.invite(Invite::to("4000", &offer)).expect("sent");
    admitted.wait_answer(WAIT).expect("admitted again");
    admitted.bye(WAIT).expect("ended");
}

#[test]
fn a_mute_is_on_the_wire_within_two_intervals_of_its_answer() {
    const ROUNDS: usize = 20;
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let source = Source::tone(Law::Mu, TONE_HZ, -20.0);
    let talker = Participant::join_as(&phone, &engine, "3000", Some(source), "1", "talker").expect("joined");
    let listener = Participant::join_as(
        &phone,
        &engine,
        "3000",
        Some(Source::silence(Law::Mu)),
        "2",
        "listener",
    )
    .expect("joined");
    let control = server.first_conference().expect("the API");
    control
        .wait_participants(WAIT, |list| list.len() == 2)
        .expect("both are in");
    let id = control.participant("1").expect("listed");
    std::thread::sleep(Duration::from_secs(1));
    let mut delays_ms = Vec::new();
    for _ in 0..ROUNDS {
        for (action, audible) in [("mute", false), ("unmute", true)] {
            listener.stream.set_capture(CaptureMode::Full);
            let answer = control.act_on(id, action).expect("done");
            let answered_ns = monotonic_ns() - answer.at.elapsed().as_nanos() as u64;
            std::thread::sleep(Duration::from_millis(150));
            let changed = first_packet(&listener.stream.take_capture(), audible);
            let changed_ns = changed.unwrap_or_else(|| panic!("{action} had no effect within 150 ms"));
            delays_ms.push((changed_ns as i64 - answered_ns as i64) as f64 / 1e6);
        }
    }
    delays_ms.sort_by(f64::total_cmp);
    let worst = delays_ms[delays_ms.len() - 1];
    println!(
        "HTTP answer to first changed packet: median {:.1} ms, worst {worst:.1} ms",
        delays_ms[ROUNDS]
    );
    assert!(worst <= EFFECT_BOUND_MS, "{delays_ms:?}");
    talker.leave().expect("left");
    listener.leave().expect("left");
}

/// Returns the arrival of the first packet in which the tone is there, or is gone.
fn first_packet(capture: &Capture, audible: bool) -> Option<u64> {
    let packets = capture.packets().iter();
    let mut levels = packets.map(|packet| {
        (
            packet.arrival_ns,
            meter::tone_dbfs(&capture.decode(packet), 8000, TONE_HZ),
        )
    });
    levels
        .find(|(_, level)| (*level > -20.0 - GONE_DB) == audible)
        .map(|(arrival_ns, _)| arrival_ns)
}

#[test]
fn kick_sends_a_bye_and_a_muted_joiner_is_not_heard() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let document = json!({"conference_numbers": ["5000"], "moderator": {"numbers": ["5001"]}});
    let control = ConferenceControl::create(server.api().expect("a login"), document).expect("created");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let source = || Some(Source::tone(Law::Mu, TONE_HZ, -20.0));
    // Members of a conference with schema defaults join muted, moderators do not.
    let member = Participant::join_as(&phone, &engine, "5000", source(), "1", "member").expect("joined");
    let moderator =
        Participant::join_as(&phone, &engine, "5001", source(), "2", "moderator").expect("joined");
    std::thread::sleep(Duration::from_millis(500));
    member.stream.set_capture(CaptureMode::Full);
    moderator.stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(1200));
    let level = |participant: &Participant| {
        meter::tone_dbfs(
            &participant.stream.take_capture().samples()[..8000],
            8000,
            TONE_HZ,
        )
    };
    assert!((level(&member) + 20.0).abs() < 1.0);
    assert!(level(&moderator) < -60.0);
    let list = control.participants().expect("listed");
    let roles: Vec<_> = list
        .iter()
        .map(|p| (p["caller_id_number"].as_str(), p["is_moderator"].as_bool()))
        .collect();
    assert!(
        roles.contains(&(Some("1"), Some(false))) && roles.contains(&(Some("2"), Some(true))),
        "{list:?}"
    );
    assert_eq!(list[0]["conference_name"], control.id());

    control
        .act_on(control.participant("1").expect("listed"), "kick")
        .expect("done");
    member
        .call
        .wait_request("BYE", Duration::from_secs(2))
        .expect("a BYE");
    control
        .wait_participants(Duration::from_secs(2), |list| list.len() == 1)
        .expect("removed");
    moderator.leave().expect("left");
    control
        .wait_participants(Duration::from_secs(2), <[_]>::is_empty)
        .expect("over");
}
