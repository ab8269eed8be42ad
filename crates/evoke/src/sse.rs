//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): only their data matters here.

use crate::exit::{Error, Result};

/// Bytes of one event; a log line is bounded far below it.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Puts the data of events together from chunks cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    data: String,
}

impl Decoder {
    /// Takes a chunk; returns the data of each event that ended in it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<String>> {
        let mut events = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                events.extend((!data.is_empty()).then_some(data));
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
            return Err(Error::failed(
                "not_evoke",
                format!("an event of the server is larger than {EVENT_BYTES_MAX} bytes"),
            ));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_chunks_are_cut() {
        let text = ": hello\n\nid: 7\nevent: log\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\ndata: unfinished";
        for cut in 0..text.len() {
            let mut decoder = Decoder::default();
            let mut events = decoder.push(&text.as_bytes()[..cut]).unwrap();
            events.extend(decoder.push(&text.as_bytes()[cut..]).unwrap());
            assert_eq!(events, ["{\"a\":\n1}", "x"], "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::default();
        assert!(decoder.push(&vec![b'x'; EVENT_BYTES_MAX + 1]).is_err());
    }
}
