//! Calls of guests over a real socket, whose other side the test plays. Time is virtual: a limit costs nothing.

use std::os::fd::OwnedFd;
use std::time::Duration;

use evoke_core::runtime::{Reports, reports};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::frame::message::HeaderBounds;
use crate::frame::{Decoder, Encoder, Form, Kind, compact};
use crate::gauge::Counters;
use crate::launcher::{Connection, Obituary};
use crate::testing::{self, Conditions};
use crate::wasm::Trunks;

/// What a call has that nobody ends.
const LONG: Duration = Duration::from_secs(60);
/// How far the time goes on at once. What has come over a socket is seen before.
const TICK: Duration = Duration::from_millis(1);

/// The other side of a trunk, as the process of the guests has it.
struct Peer {
    socket: UnixStream,
    decoder: Decoder,
    /// Where sockets go that the host closed.
    closed: mpsc::UnboundedReceiver<OwnedFd>,
    /// The process lives.
    _obituary: Obituary,
}

/// A call under way.
struct Made {
    ended: JoinHandle<Ended>,
    cancel: CancellationToken,
    _reports: Reports,
}

fn trunk() -> (Arc<Trunk>, Peer) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    // A signal to something that is no process goes nowhere.
    let nothing = std::fs::File::open("/dev/null").unwrap();
    let (whole, _obituary) = Process::whole(0, nothing.into(), Counters::default());
    let (closing, closed) = mpsc::unbounded_channel();
    let connection = Connection {
        socket: ours.try_clone().unwrap().into(),
        closed: closing,
        is_closed: false.into(),
        hold: Arc::default(),
    };
    let process = Process::part(0, connection, whole.death());
    let shared = process.share();
    let parts = Parts {
        process,
        link: Link::new(ours.into()).unwrap(),
        output: Output::new(None, None, None, 0).unwrap(),
        alarm: Alarm::default(),
    };
    let headers = HeaderBounds { fields: 100, bytes: 64 << 10 };
    let tasks = TaskTracker::new();
    tasks.spawn(async {
        loop {
            sleep(TICK).await;
        }
    });
    let trunk = Trunk {
        hub: Hub::new(parts, "sample".to_owned(), true, tasks),
        process: shared,
        function: "sample".to_owned(),
        source: "/shop/sample".to_owned(),
        terms: Terms { form: Form::Compact, headers, log_line_bytes: 1000, publish_events: 10 },
        meter: None,
        guests: None,
        early: Mutex::default(),
    };
    let socket = UnixStream::from_std(theirs).unwrap();
    (Arc::new(trunk), Peer { socket, decoder: Decoder::default(), closed, _obituary })
}

/// Makes a call in a lane of its own, which goes with it.
fn make(trunk: &Arc<Trunk>) -> Made {
    let (up, _reports) = reports(16);
    let mut call = testing::call(&Conditions { event: true, ..Conditions::default() }, up);
    (call.timeout, call.deadline) = (LONG, Instant::now() + LONG);
    let (cancel, mut lane) = (call.cancel.clone(), Lane::new(Arc::clone(trunk)));
    let ended = TaskTracker::new().spawn(async move { lane.call(call).await });
    Made { ended, cancel, _reports }
}

impl Made {
    async fn returns(self) {
        let ended = self.ended.await.unwrap();
        assert!(matches!(ended, Ended::Returned { .. }), "{ended:?}");
    }

    /// Gives it up, and waits until the host does not wait for it any more.
    async fn given_up(self) {
        self.cancel.cancel();
        let ended = self.ended.await.unwrap();
        assert!(matches!(ended, Ended::Cancelled), "{ended:?}");
    }

    /// It was ended for the sake of another; why.
    async fn ended(self) -> String {
        match self.ended.await.unwrap() {
            Ended::Failed(failure) if failure.code == FailureCode::InstanceEnded => failure.message,
            other => panic!("{other:?}"),
        }
    }
}

impl Peer {
    /// The number of the next call that begins.
    async fn invoked(&mut self) -> u32 {
        loop {
            while let Some(frame) = self.decoder.take().unwrap() {
                if frame.kind == Kind::Invoke {
                    return frame.call;
                }
            }
            assert_ne!(self.socket.read_buf(self.decoder.space(4096)).await.unwrap(), 0, "it was closed");
        }
    }

    async fn says(&mut self, kind: Kind, call: u32, payload: &[u8]) {
        let mut encoder = Encoder::default();
        encoder.frame(kind, call, payload);
        self.socket.write_all(encoder.unwritten()).await.unwrap();
    }

    async fn ends(&mut self, call: u32) {
        let mut encoder = Encoder::default();
        compact::done(&mut encoder, call, &[], Usage::default()).unwrap();
        self.socket.write_all(encoder.unwritten()).await.unwrap();
    }

    async fn grants(&mut self, call: u32) {
        self.says(Kind::Credit, call, &1000_u32.to_le_bytes()).await;
    }

    /// The host has closed its end.
    async fn let_go(&mut self) {
        self.closed.recv().await.unwrap();
        let mut rest = Vec::new();
        self.socket.read_to_end(&mut rest).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_goes_on_when_it_was_given_up_ends_its_trunk_and_the_next_call_has_another() {
    let (trunks, spec) = (Trunks::default(), Arc::new(testing::spec()));
    let (first, mut peer) = trunk();
    let open = async { Arc::try_unwrap(first).map_err(drop) };
    let first = trunks.get(&spec, open).await.unwrap();
    let stuck = make(&first);
    peer.invoked().await;
    let neighbours = [make(&first), make(&first)];
    stuck.given_up().await;
    let given_up = Instant::now();
    for neighbour in neighbours {
        let why = neighbour.ended().await;
        assert_eq!(why, "its instance was ended: a call did not end within 2 s of being given up");
    }
    assert_eq!(given_up.elapsed().as_millis() / 100, 20);
    peer.let_go().await;

    let (second, mut peer) = trunk();
    let open = async { Arc::try_unwrap(second).map_err(drop) };
    let second = trunks.get(&spec, open).await.unwrap();
    let next = make(&second);
    let number = peer.invoked().await;
    peer.ends(number).await;
    next.returns().await;
}

#[tokio::test(start_paused = true)]
async fn guests_that_end_in_time_when_they_were_given_up_end_nobody() {
    let (trunk, mut peer) = trunk();
    let (early, late, neighbour) = (make(&trunk), make(&trunk), make(&trunk));
    let numbers = [peer.invoked().await, peer.invoked().await, peer.invoked().await];
    early.given_up().await;
    sleep(Duration::from_millis(1_500)).await;
    late.given_up().await;
    // Each has its own two seconds.
    sleep(Duration::from_millis(400)).await;
    peer.ends(numbers[0]).await;
    sleep(Duration::from_millis(1_400)).await;
    let ended = br#"{"type": "Trap", "message": "interrupted"}"#;
    peer.says(Kind::Error, numbers[1], ended).await;
    sleep(Duration::from_secs(10)).await;
    assert!(trunk.is_open());
    peer.ends(numbers[2]).await;
    neighbour.returns().await;
}

#[tokio::test(start_paused = true)]
async fn that_one_guest_ended_in_time_does_not_help_another() {
    let (trunk, mut peer) = trunk();
    let (ends, stuck, neighbour) = (make(&trunk), make(&trunk), make(&trunk));
    let first = peer.invoked().await;
    ends.given_up().await;
    sleep(Duration::from_millis(1_500)).await;
    stuck.given_up().await;
    let given_up = Instant::now();
    peer.ends(first).await;
    neighbour.ended().await;
    assert_eq!(given_up.elapsed().as_millis() / 100, 20);
}

#[tokio::test(start_paused = true)]
async fn credit_of_a_guest_whose_call_is_over_ends_nobody() {
    let (trunk, mut peer) = trunk();
    let (done, left, neighbour) = (make(&trunk), make(&trunk), make(&trunk));
    let numbers = [peer.invoked().await, peer.invoked().await, peer.invoked().await];
    peer.ends(numbers[0]).await;
    done.returns().await;
    peer.grants(numbers[0]).await;
    left.given_up().await;
    peer.grants(numbers[1]).await;
    peer.ends(numbers[1]).await;
    peer.grants(numbers[1]).await;
    peer.ends(numbers[2]).await;
    neighbour.returns().await;
    assert!(trunk.is_open());
}

#[tokio::test(start_paused = true)]
async fn anything_else_of_a_call_that_is_over_is_no_word_of_ours() {
    for kind in [Kind::Body, Kind::Response, Kind::Log, Kind::Platform, Kind::Done] {
        let (trunk, mut peer) = trunk();
        let (done, neighbour) = (make(&trunk), make(&trunk));
        let number = peer.invoked().await;
        peer.ends(number).await;
        done.returns().await;
        peer.says(kind, number, b"").await;
        let why = neighbour.ended().await;
        assert!(why.contains("belongs to a call that is not running"), "{kind:?}: {why}");
    }
}
