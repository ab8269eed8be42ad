//! The first bytes of an answer's body, for people; the rest is not wanted.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// Bytes that are kept.
const KEPT_BYTES: usize = 512;
/// Bytes that are read, so that the connection can be used again.
const READ_BYTES_MAX: usize = 64 << 10;
/// How long that may take. An answer that goes on for longer loses its connection.
const READ_TIME_MAX: Duration = Duration::from_secs(1);

/// The begin of a body as one line of text: what is not UTF-8 or not to be printed is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// The text, empty for an empty body.
    pub text: String,
    /// Whether there was more.
    pub cut: bool,
}

impl Excerpt {
    /// Reads it. Waits for the body's end, but neither long nor for much.
    pub(crate) async fn read(mut body: Incoming) -> Self {
        let (mut kept, mut read) = (Vec::new(), 0);
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(data) = frame.into_data() else { continue };
                read += data.len();
                let room = KEPT_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(&data[..data.len().min(room)]);
                if read > READ_BYTES_MAX {
                    return true;
                }
            }
            false
        };
        let broke_off = tokio::time::timeout(READ_TIME_MAX, reading).await.unwrap_or(true);
        Self { text: printable(&kept), cut: broke_off || read > kept.len() }
    }
}

impl std::fmt::Display for Excerpt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.cut { "…" } else { "" })
    }
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
