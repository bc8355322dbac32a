//! Connections over loopback.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

struct World {
    connections: Connections,
    inputs: mpsc::Receiver<Input>,
    address: SocketAddr,
}

fn world() -> World {
    let (sender, inputs) = mpsc::channel(8192);
    let connections = Connections::new(sender, Arc::default(), Trust::new(None, None));
    let listener = bind("sip.tcp", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    connections.accept(Door::plain(listener));
    World {
        connections,
        inputs,
        address,
    }
}

const MESSAGE: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

impl World {
    async fn message(&mut self) -> Flow {
        match self.inputs.recv().await {
            Some(Input::Message { flow, .. }) => flow,
            _ => panic!("no message"),
        }
    }
}

#[tokio::test]
async fn a_thousand_messages_at_once_are_no_reason_to_cut_a_peer_off() {
    let mut world = world();
    let mut peer = TcpStream::connect(world.address).await.unwrap();
    peer.write_all(MESSAGE).await.unwrap();
    let flow = world.message().await;
    let message = Bytes::from(vec![b'x'; 600]);
    // No await: the writing task cannot drain the queue meanwhile.
    for _ in 0..1000 {
        assert_eq!(world.connections.send(flow, message.clone()), Ok(()));
    }
    let mut received = vec![0; 600 * 1000];
    peer.read_exact(&mut received).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_leaves_a_megabyte_unread_is_cut_off() {
    let mut world = world();
    let mut peer = TcpStream::connect(world.address).await.unwrap();
    peer.write_all(MESSAGE).await.unwrap();
    let flow = world.message().await;
    let large = Bytes::from(vec![b'x'; 64 << 10]);
    let mut sent = 0;
    let stalled = loop {
        match world.connections.send(flow, large.clone()) {
            Ok(()) => sent += large.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(stalled, SendError::Stalled);
    assert_eq!(sent, WRITE_QUEUE_BYTES);
}

#[tokio::test]
async fn messages_without_a_connection_share_one() {
    let world = world();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let flow = Flow::tcp(world.address, listener.local_addr().unwrap(), 0);
    let accept = async {
        let (mut accepted, _) = listener.accept().await.unwrap();
        let mut text = [0; 2];
        accepted.read_exact(&mut text).await.unwrap();
        (accepted, text)
    };
    world.connections.send(flow, Bytes::from_static(b"1")).unwrap();
    world.connections.send(flow, Bytes::from_static(b"2")).unwrap();
    let (mut accepted, text) = accept.await;
    assert_eq!(&text, b"12");
    world.connections.send(flow, Bytes::from_static(b"3")).unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'3');
}

#[tokio::test]
async fn both_families_can_have_the_same_port() {
    let v6 = match bind("sip.tcp", "[::]:0".parse().unwrap()) {
        Ok(listener) => listener,
        // A machine without IPv6.
        Err(_) => return,
    };
    let port = v6.local_addr().unwrap().port();
    assert!(bind("sip.tcp", SocketAddr::from(([127, 0, 0, 1], port))).is_ok());
}

#[test]
fn a_subscriber_of_ipv6_is_one_source() {
    let of = |text: &str| source(text.parse().unwrap());
    assert_eq!(of("[2001:db8:0:1::1]:5"), of("[2001:db8:0:1:ffff::2]:6"));
    assert_ne!(of("[2001:db8:0:1::1]:5"), of("[2001:db8:0:2::1]:5"));
    assert_ne!(of("192.0.2.1:5"), of("192.0.2.2:5"));
    assert_eq!(of("[::ffff:192.0.2.1]:5"), of("192.0.2.1:5"));
}
