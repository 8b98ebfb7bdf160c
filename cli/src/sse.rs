//! Server-sent events (WHATWG HTML, section 9.2), as far as `vmctl` reads them. Pure.

use crate::client::MAX_BODY;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The id to go on behind, if the frame names one.
    pub id: Option<String>,
    /// What it is; empty for a frame that only names a place.
    pub event: String,
    /// Its data, lines joined.
    pub data: String,
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    waiting: Vec<u8>,
    frame: Frame,
    bytes: usize,
}

/// An event is larger than any that this client expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl Parser {
    /// Takes bytes and returns the events that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLarge> {
        let mut frames = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.bytes += 1;
                if self.bytes > MAX_BODY {
                    return Err(TooLarge);
                }
                self.waiting.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.waiting);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            if line.is_empty() {
                self.bytes = 0;
                let frame = std::mem::take(&mut self.frame);
                if frame != Frame::default() {
                    frames.push(frame);
                }
            } else {
                self.line(&line);
            }
        }
        Ok(frames)
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.frame.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.frame.event),
            "data" => {
                if !self.frame.data.is_empty() {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            // Comments keep the connection alive; the pause to reconnect is our own.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: Option<&str>, event: &str, data: &str) -> Frame {
        Frame {
            id: id.map(str::to_owned),
            event: event.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_whole_wherever_the_bytes_are_cut() {
        let text = "retry: 3000\n\n: ping\n\nid: 7\n\nevent: started\r\nid: 8\r\ndata: {\"é\":1}\r\n\r\n\
                    event: log\ndata:a\ndata: b\n\nevent: half";
        let expected = [
            frame(Some("7"), "", ""),
            frame(Some("8"), "started", "{\"é\":1}"),
            frame(None, "log", "a\nb"),
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let frames = text
                .as_bytes()
                .chunks(size)
                .map(|part| parser.feed(part).unwrap());
            assert_eq!(frames.flatten().collect::<Vec<_>>(), expected, "{size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let part = vec![b'x'; 64 * 1024];
        assert!((0..64).any(|_| parser.feed(&part).is_err()));
    }
}
