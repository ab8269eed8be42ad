//! A server behind a route: what it was sent, one text a request.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

pub struct Behind {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<String>>>,
}

/// Answers the nth request (from 0); an empty answer closes the connection.
pub async fn behind(answer: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Behind {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, answer, tasks) = (seen.clone(), Arc::new(answer), TaskTracker::new());
    TaskTracker::new().spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (log, answer) = (log.clone(), answer.clone());
            tasks.spawn(async move {
                while let Some(request) = request(&mut stream).await {
                    let nth = log.lock().len();
                    log.lock().push(request.clone());
                    let answer = answer(nth, &request);
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                    if request.to_lowercase().contains("\r\nupgrade:") {
                        let (mut from, mut to) = stream.split();
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                        return;
                    }
                }
            });
        }
    });
    Behind { port, seen }
}

/// Head and body of one request, as they came.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let done = |text: &str| {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let chunked = head.contains("transfer-encoding: chunked");
        let whole = if chunked { body.ends_with("\r\n\r\n") } else { body.len() >= length.unwrap_or(0) };
        whole.then_some(())
    };
    while done(&text).is_none() {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
        text += &String::from_utf8_lossy(&bytes[..read]);
    }
    Some(text)
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The body of a request.
pub fn seen(request: &str) -> &str {
    request.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
