//! The host's side: a worker on a thread of its own, and functions in it.

use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use evoke_core::chain::Chain;
use evoke_core::event::json as events;
use evoke_core::id::Correlation;
use evoke_core::record::Cause;
use evoke_worker::frame::message::{EventsOut, HeaderBounds, HeadersOut, Invoke, InvokeRequest};
use evoke_worker::frame::{Decoder, Encoder, Form, Frame, Kind, WINDOW_BYTES};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

use crate::guests::guest;

/// How long the tests wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of a response.
const HEADERS: HeaderBounds = HeaderBounds { fields: 100, bytes: 64 << 10 };

/// A worker and its own socket.
pub struct Worker {
    channel: Socket,
}

/// A function's socket.
pub struct Function {
    socket: Socket,
    last_call: u32,
}

struct Socket {
    stream: UnixStream,
    decoder: Decoder,
}

/// All that a call said.
#[derive(Debug, Default)]
pub struct Said {
    pub status: Option<u64>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub body_ended: bool,
    pub lines: Vec<(u8, String)>,
    pub platform: Vec<Value>,
    /// Where it wanted to connect to.
    pub connects: Vec<String>,
    pub done: Option<Value>,
    pub error: Option<Value>,
}

impl Worker {
    pub fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || evoke_wasm::worker_main(theirs.into()));
        let mut channel = Socket::new(ours);
        channel.send(Kind::Init, 0, &json!({ "protocol": 1, "instances": 64 }));
        assert_eq!(channel.receive().kind, Kind::Ready);
        Self { channel }
    }

    pub fn function(&mut self, component: &str) -> Function {
        self.open(component, 64).unwrap()
    }

    /// Opens a function; the error is its `INIT_ERROR`.
    pub fn open(&mut self, component: &str, memory_mib: u64) -> Result<Function, Value> {
        self.open_file(&compiled(component).unwrap(), memory_mib, false)
    }

    /// Opens a function whose instances serve one call after the other.
    pub fn open_keeping(&mut self, component: &str) -> Result<Function, Value> {
        self.open_file(&compiled(component).unwrap(), 64, true)
    }

    /// One function of each kind, with its name: both worlds with a fresh instance for each call, and one that keeps its instance.
    pub fn kinds(&mut self) -> [(&'static str, Function); 3] {
        let kept = self.open_keeping("service").unwrap();
        [("proxy", self.function("proxy")), ("service", self.function("service")), ("kept", kept)]
    }

    /// Opens a file that nobody has compiled.
    pub fn open_as_is(&mut self, path: &std::path::Path) -> Result<Function, Value> {
        self.open_file(path, 64, false)
    }

    fn open_file(
        &mut self,
        compiled: &std::path::Path,
        memory_mib: u64,
        reuse: bool,
    ) -> Result<Function, Value> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut encoder = Encoder::default();
        encoder.frame(Kind::Open, 0, &[]);
        let theirs: OwnedFd = theirs.into();
        let fds = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = [IoSlice::new(encoder.unwritten())];
        sendmsg(&self.channel.stream, &bytes, &mut ancillary, SendFlags::empty()).unwrap();
        let mut socket = Socket::new(ours);
        let init = json!({
            "protocol": 1, "source": compiled, "function": "guest", "memory_mib": memory_mib,
            "reuse": reuse,
            "variables": [["EVOKE_API", "http://evoke.internal"], ["COLOUR", "blue"]],
            "limits": { "body_bytes": 6 << 20, "log_line_bytes": 100 },
        });
        socket.send(Kind::Init, 0, &init);
        let answer = socket.receive();
        match answer.kind {
            Kind::Ready => Ok(Function { socket, last_call: 0 }),
            Kind::InitError => Err(serde_json::from_slice(&answer.payload).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

impl Function {
    /// A request without a body, to its end.
    pub fn get(&mut self, path: &str) -> Said {
        let call = self.start(path, false, PATIENCE);
        self.finish(call)
    }

    /// A request with a body, to its end.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Said {
        let call = self.start(path, true, PATIENCE);
        self.socket.frame(Kind::BodyEnd, call, body);
        self.finish(call)
    }

    /// An event, to its end.
    pub fn event(&mut self, event: &Value) -> Said {
        let event = events::parse_value(event.clone()).unwrap();
        let call = self.invoke(PATIENCE, None, Some(EventsOut::One(&event)));
        self.finish(call)
    }

    /// Starts a request. `body` says whether parts of one will follow.
    pub fn start(&mut self, path: &str, body: bool, time: Duration) -> u32 {
        let uri = format!("http://shop.example{path}");
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-test"), HeaderValue::from_static("1"))]);
        let request = InvokeRequest {
            method: if body { "POST" } else { "GET" },
            uri: &uri,
            headers: HeadersOut(&headers),
            params: &[],
            client: None,
            body,
            next: false,
        };
        self.invoke(time, Some(request), None)
    }

    fn invoke(
        &mut self,
        time: Duration,
        request: Option<InvokeRequest<'_>>,
        event: Option<EventsOut<'_>>,
    ) -> u32 {
        self.last_call += 1;
        let cause = Cause {
            root: Correlation::from_text("corr_01"),
            parent: None,
            depth: 0,
            chain: Chain::default(),
            version: None,
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span_id: "b7ad6b7169203331".to_owned(),
            shadow: false,
        };
        let (deadline_ms, cause) = (deadline(time), &cause);
        let invoke = Invoke { run: "run_01", attempt: 1, deadline_ms, cause, hops: None, request, event };
        let mut encoder = Encoder::default();
        Form::Compact.invoke(&mut encoder, self.last_call, &invoke).unwrap();
        self.socket.stream.write_all(encoder.unwritten()).unwrap();
        self.last_call
    }

    pub fn frame(&mut self, kind: Kind, call: u32, payload: &[u8]) {
        self.socket.frame(kind, call, payload);
    }

    pub fn next(&mut self) -> Frame {
        self.socket.receive()
    }

    /// Reads until `call` is over. Platform requests are answered with what they asked.
    pub fn finish(&mut self, call: u32) -> Said {
        let mut said = Said::default();
        loop {
            let frame = self.socket.receive();
            if frame.call == call && self.take(frame, &mut said) {
                return said;
            }
        }
    }

    fn take(&mut self, frame: Frame, said: &mut Said) -> bool {
        let value = || serde_json::from_slice::<Value>(&frame.payload).unwrap();
        match frame.kind {
            Kind::Response => {
                let head = Form::Compact.response(&frame.payload, HEADERS).unwrap();
                said.status = Some(head.status.as_u16().into());
                said.body_ended = !head.body;
                let pair = |(name, value): (&HeaderName, &HeaderValue)| {
                    (name.to_string(), value.to_str().unwrap().to_owned())
                };
                said.headers = head.headers.iter().map(pair).collect();
            }
            Kind::Body | Kind::BodyEnd => {
                said.body.extend_from_slice(&frame.payload);
                said.body_ended = frame.kind == Kind::BodyEnd;
                let granted = u32::try_from(frame.payload.len()).unwrap();
                self.socket.frame(Kind::Credit, frame.call, &granted.to_le_bytes());
            }
            Kind::Log => {
                let text = String::from_utf8_lossy(&frame.payload[1..]).into_owned();
                said.lines.push((frame.payload[0], text));
            }
            Kind::Platform => {
                let head_bytes = u32::from_le_bytes(frame.payload[4..8].try_into().unwrap()) as usize;
                let (head, body) = frame.payload[8..].split_at(head_bytes);
                said.platform.push(serde_json::from_slice(head).unwrap());
                let answer =
                    serde_json::to_vec(&json!({ "status": 201, "headers": [["x-of", "platform"]] })).unwrap();
                let mut payload = frame.payload[..4].to_vec();
                payload.extend_from_slice(&u32::try_from(answer.len()).unwrap().to_le_bytes());
                payload.extend_from_slice(&answer);
                payload.extend_from_slice(body);
                self.socket.frame(Kind::Answer, frame.call, &payload);
            }
            Kind::Done => {
                let done = Form::Compact.done(&frame.payload).unwrap();
                let mut value = json!({ "usage": done.usage });
                if !done.events.is_empty() {
                    value["events"] = done.events.into();
                }
                said.done = Some(value);
                return true;
            }
            Kind::Error => {
                said.error = Some(value());
                return true;
            }
            Kind::Connect => {
                said.connects.push(String::from_utf8_lossy(&frame.payload[8..]).into_owned());
                let answer = [&frame.payload[..8], b"denied"].concat();
                self.socket.frame(Kind::Connected, frame.call, &answer);
            }
            Kind::Credit => {}
            other => panic!("{other:?} frame"),
        }
        false
    }
}

impl Said {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Type and message of its error.
    pub fn failure(&self) -> (&str, &str) {
        let error = self.error.as_ref().unwrap_or_else(|| panic!("it did not fail: {self:?}"));
        (error["type"].as_str().unwrap(), error["message"].as_str().unwrap())
    }
}

impl Socket {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, decoder: Decoder::default() }
    }

    fn send(&mut self, kind: Kind, call: u32, payload: &Value) {
        self.frame(kind, call, &serde_json::to_vec(payload).unwrap());
    }

    fn frame(&mut self, kind: Kind, call: u32, payload: &[u8]) {
        let mut encoder = Encoder::default();
        encoder.frame(kind, call, payload);
        self.stream.write_all(encoder.unwritten()).unwrap();
    }

    fn receive(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.take().unwrap() {
                return frame;
            }
            let mut bytes = [0; 64 << 10];
            let read = match self.stream.read(&mut bytes) {
                // All stood still for a while: a read that has a limit is not taken up again by itself.
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("the worker says something in time"),
            };
            assert!(read > 0, "the worker closed the socket");
            self.decoder.space(WINDOW_BYTES).extend_from_slice(&bytes[..read]);
        }
    }
}

fn deadline(time: Duration) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the protocol's deadlines are times of day")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from((now + time).as_millis()).unwrap()
}

/// The compiled form of a guest, or of any file; the error is what the compiler said.
pub fn compiled(component: &str) -> Result<PathBuf, String> {
    let source = if component.contains('/') { PathBuf::from(component) } else { guest(component) };
    compile(&source)
}

/// Compiles in this process, which is enough for tests of what comes out.
fn compile(source: &std::path::Path) -> Result<PathBuf, String> {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path();
    let target = folder.join(format!("{}.cwasm", source.file_stem().unwrap().to_str().unwrap()));
    if target.exists() {
        return Ok(target);
    }
    let code = evoke_wasm::compile(source)?;
    std::fs::write(&target, code).unwrap();
    Ok(target)
}
