//! What the handles tell of a shard that could not do what the control side expected of it, on a real one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use confab_mixer::Room;
use confab_testkit::ports::PortLease;

use super::*;
use crate::config::{CodecKind, ExtendedReports, JoinOptions, LegMedia, MediaConfig, MediaDirection};
use crate::metrics::JoinRefusal;
use crate::plane::MediaPlane;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn media() -> LegMedia {
    // Nobody listens there, and nothing comes from there.
    let remote = SocketAddr::new(LOCALHOST, 9);
    LegMedia {
        remote,
        remote_rtcp: remote,
        rtcp_mux: true,
        srtp: None,
        extended_reports: ExtendedReports::default(),
        coding: CodecKind::Pcmu.into(),
        send_pt: 0,
        recv_pts: vec![0],
        alternatives: Vec::new(),
        telephone_event: None,
        comfort_noise: None,
        ptime_ms: 20,
        direction: MediaDirection::SendRecv,
        signalling_ip: remote.ip(),
        trusted_ips: Vec::new(),
    }
}

#[tokio::test]
async fn a_join_that_the_shard_refuses_is_told_to_who_asked() {
    let ports = PortLease::take(40).unwrap();
    let config = MediaConfig {
        bind: vec![LOCALHOST],
        ports: ports.range(),
        shards: 1,
        ..MediaConfig::default()
    };
    let (plane, _events) = MediaPlane::start(config).unwrap();
    let conference = plane.create_conference(ConferenceMedia::default()).unwrap();
    let refused = |refusal: JoinRefusal| plane.metrics().shards[0].joins_refused[refusal as usize];
    let first = plane.open_leg(LOCALHOST).unwrap();
    first.start(media()).await.unwrap();
    conference.control.state.lock().await.room = Room::for_participants(1);
    first.join(&conference, JoinOptions::default()).await.unwrap();
    // The control side believes that there is more room than there is.
    conference.control.state.lock().await.room = Room::for_participants(1000);
    let second = plane.open_leg(LOCALHOST).unwrap();
    second.start(media()).await.unwrap();
    assert_eq!(
        second.join(&conference, JoinOptions::default()).await,
        Err(ControlError::NotPlaced(JoinRefusal::Members))
    );
    assert_eq!(refused(JoinRefusal::Members), 1);
    assert_eq!(
        conference.control.legs.load(Relaxed),
        1,
        "nor is it counted as there"
    );
    assert!(matches!(
        second.seat_in(&conference.control).await.map(|_| ()),
        Err(ControlError::NotInConference)
    ));
    // It goes on where there is room.
    let other = plane.create_conference(ConferenceMedia::default()).unwrap();
    second.join(&other, JoinOptions::default()).await.unwrap();

    // The conference goes while somebody is on his way into it.
    let gone = Command::RemoveConference { at: other.control.at };
    other.control.shard().command(gone).await.unwrap();
    let error = second.join(&other, JoinOptions::default()).await.unwrap_err();
    assert_eq!(error, ControlError::NotPlaced(JoinRefusal::NoConference));
    assert!(error.to_string().contains("no_conference"), "{error}");
    assert_eq!(refused(JoinRefusal::NoConference), 1);
}
