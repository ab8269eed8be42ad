//! A server behind a route that reads to the letter and says what it was sent, byte for byte.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What came, over all connections.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Whole requests.
    pub requests: Vec<String>,
    /// Bytes that are none, and what is wrong with them.
    pub odd: Vec<String>,
}

/// The server. It ends with the test.
pub struct Upstream {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Upstream {
    /// Answers each request, given as text, with these bytes; no bytes: it closes the connection.
    pub fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Self { port, seen }
    }

    /// What came since it was asked last.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Seen>, answer: &dyn Fn(&str) -> Vec<u8>) {
    let mut held = Vec::new();
    loop {
        match request(&held) {
            Ok(Some(length)) => {
                let text = String::from_utf8_lossy(&held[..length]).into_owned();
                held.drain(..length);
                log.lock().unwrap().requests.push(text.clone());
                let answer = answer(&text);
                if answer.is_empty() || stream.write_all(&answer).is_err() {
                    return;
                }
            }
            Ok(None) => {
                let mut bytes = [0; 4096];
                match stream.read(&mut bytes) {
                    Ok(read @ 1..) => held.extend_from_slice(&bytes[..read]),
                    _ => return,
                }
            }
            Err(why) => {
                let text = String::from_utf8_lossy(&held);
                return log.lock().unwrap().odd.push(format!("{why}: {text:?}"));
            }
        }
    }
}

/// The length of the first request, once it is whole.
fn request(held: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&held[..end]);
    let mut lines = head.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    if first.len() != 3 || first[2] != "HTTP/1.1" || !first[1].starts_with('/') {
        return Err("no request line".to_owned());
    }
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or("a line that is no field")?;
        if name.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c))
            || value.contains(['\r', '\n'])
        {
            return Err(format!("field {name}"));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.parse::<usize>().map_err(|_| "a length")?),
            "transfer-encoding" => codings.push(value.to_owned()),
            _ => {}
        }
    }
    let begin = end + 4;
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Some(begin)),
        ([length], []) => Ok((held.len() >= begin + length).then_some(begin + length)),
        ([], [chunked]) if chunked == "chunked" => {
            chunks(&held[begin..]).map(|body| body.map(|body| begin + body))
        }
        _ => Err("two lengths".to_owned()),
    }
}

fn chunks(held: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = held[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&held[at..at + end]).map_err(|_| "a chunk")?;
        let size = usize::from_str_radix(line, 16).map_err(|_| format!("chunk size {line:?}"))?;
        at += end + 2;
        if size > 0 {
            if held.len() < at + size + 2 {
                return Ok(None);
            }
            at += size + 2;
            continue;
        }
        // Trailers, to the empty line.
        loop {
            let Some(end) = held[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
            at += end + 2;
            if end == 0 {
                return Ok(Some(at));
            }
        }
    }
}
