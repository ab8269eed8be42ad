//! Connections on threads of their own.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use evoke_core::body::Body;
use http::Method;

use crate::support::{Setup, Threads, World, respond};

/// A connection of a client that is no part of any runtime.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(to: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(to).unwrap()))
    }

    /// Calls and reads the answer's body, which has a length.
    fn call(&mut self) -> String {
        let request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        self.0.get_mut().write_all(request).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the connection was closed");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

/// Whose function answers with the name of the thread it was called on.
async fn world(threads: usize) -> World {
    let world = World::with_echo(Setup { threads: Threads::start(threads), ..Setup::default() }).await;
    world.runtime.script("echo", |guest| async move {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        respond(&guest, 200, &[], Body::Full(thread.into())).await;
        guest.agree().await
    });
    // Starts the instance.
    world.data(Method::POST, "/echo", "").await;
    world
}

#[tokio::test]
async fn calls_are_answered_while_all_else_is_held_up() {
    let world = world(1).await;
    // The runtime of everything else is that of this test, which does nothing until the answers are there.
    let mut client = Client::connect(world.data);
    assert_eq!([client.call(), client.call()], ["calls-0", "calls-0"]);
}

#[tokio::test]
async fn connections_go_where_the_fewest_are_and_stay_there() {
    let world = world(3).await;
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(world.data)).collect();
    let threads: Vec<_> = clients.iter_mut().map(Client::call).collect();
    let again: Vec<_> = clients.iter_mut().map(Client::call).collect();
    assert_eq!(threads, again);
    assert_eq!(threads[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{threads:?}");
    let mut sorted = threads;
    sorted.sort();
    assert_eq!(sorted, ["calls-0", "calls-0", "calls-1", "calls-1", "calls-2", "calls-2"]);
}

#[tokio::test]
async fn a_connection_over_the_bound_takes_a_place_on_any_thread() {
    let mut setup = Setup { threads: Threads::start(2), ..Setup::default() };
    setup.bounds.data_connections = 2;
    let world = World::with_echo(setup).await;
    world.data(Method::POST, "/echo", "").await;
    let mut clients = [Client::connect(world.data), Client::connect(world.data)];
    clients.iter_mut().for_each(|client| _ = client.call());
    // The one that is idle for longest makes room.
    let mut third = Client::connect(world.data);
    third.call();
    let [mut first, mut second] = clients;
    second.call();
    assert_eq!(first.0.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn the_threads_are_not_needed_any_more_when_the_gateway_and_the_engine_have_ended() {
    let world = world(2).await;
    let mut clients = [Client::connect(world.data), Client::connect(world.data)];
    clients.iter_mut().for_each(|client| _ = client.call());
    world.stop.cancel();
    world.tasks.wait().await;
    world.engine.drain(std::time::Duration::from_secs(10)).await.unwrap();
    for Client(mut stream) in clients {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(world.runtime.alive(), 0);
}
