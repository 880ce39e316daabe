//! Server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

/// The longest line that is kept, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its lines.
    pub data: String,
}

/// Reads unnamed events, and those named `message`.
pub struct Events<R> {
    from: BufReader<R>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl<R: Read> Events<R> {
    /// Reads from a stream.
    pub fn new(from: R) -> Self {
        Self { from: BufReader::new(from), last_id: None, retry: None }
    }

    /// The id of the last event, to be shown when the stream is taken up again.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants one to wait before that.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The next event; `None` at the end. An event whose end never came is not given.
    ///
    /// # Errors
    /// The stream broke off.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        let (mut data, mut name) = (None::<String>, String::new());
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line.is_empty() {
                match data.take() {
                    Some(data) if name.is_empty() || name == "message" => return Ok(Some(Event { data })),
                    _ => name.clear(),
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => data = Some(value.to_owned()),
                },
                "event" => value.clone_into(&mut name),
                // What could not stand in a header is not kept.
                "id" if value.bytes().all(|b| b.is_ascii_graphic()) => self.last_id = Some(value.to_owned()),
                "retry" => self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry),
                _ => {}
            }
        }
    }

    /// A line without its end. What is longer than [`MAX_LINE`] comes in pieces.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_lines_ids_and_names() {
        let text = "retry: 1\n\n: keepalive\n\nid: 7\ndata: one\ndata:two\r\n\r\nevent: other\ndata: x\n\n\
                    event: message\ndata\n\nid: 8\ndata: cut off";
        let mut events = Events::new(text.as_bytes());
        assert_eq!(events.next_event().unwrap(), Some(Event { data: "one\ntwo".into() }));
        assert_eq!((events.last_id(), events.retry()), (Some("7"), Some(Duration::from_millis(1))));
        assert_eq!(events.next_event().unwrap(), Some(Event { data: String::new() }));
        assert_eq!(events.next_event().unwrap(), None);
    }
}
