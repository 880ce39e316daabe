//! The line that a request leaves in the log of its app, as Heroku's router writes it
//! (<https://devcenter.heroku.com/articles/http-routing#heroku-router-log-format>).

use std::sync::Arc;
use std::time::Duration;

use crate::code::Code;
use crate::digits::Digits;
use crate::fields::Facts;

/// The longest value, in bytes.
const LONGEST: usize = 2000;

/// What happened to a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Why the app did not answer it.
    pub(crate) code: Option<Code>,
    /// The dyno that it was sent to.
    pub(crate) dyno: Option<Arc<str>>,
    /// How long it took to get a connection there.
    pub(crate) connect: Option<Duration>,
    /// How long it took from then on.
    pub(crate) service: Option<Duration>,
    /// The status of the answer; none while there is none.
    pub(crate) status: Option<u16>,
    /// The bytes of its body.
    pub(crate) bytes: u64,
}

/// The line.
pub(crate) fn line(method: &str, path: &str, facts: &Facts, outcome: &Outcome) -> String {
    let mut line = String::with_capacity(256 + path.len());
    match outcome.code {
        None => line.push_str("at=info"),
        Some(code) => {
            let (code_word, words) = code.words();
            let at = if code.is_error() { "error" } else { "info" };
            for part in ["at=", at, " code=", code_word, " desc=\"", words, "\""] {
                line.push_str(part);
            }
        }
    }
    push(&mut line, "method", method, false);
    push(&mut line, "path", path, true);
    push(&mut line, "host", &facts.host, false);
    push(&mut line, "request_id", &facts.request_id, false);
    push(&mut line, "fwd", &facts.forwarded_for, true);
    push(&mut line, "dyno", outcome.dyno.as_deref().unwrap_or_default(), false);
    push_time(&mut line, " connect=", outcome.connect);
    push_time(&mut line, " service=", outcome.service);
    let status = outcome.status.or(outcome.code.map(Code::status));
    push_number(&mut line, " status=", status.unwrap_or_default().into());
    push_number(&mut line, " bytes=", outcome.bytes);
    push(&mut line, "protocol", facts.protocol(), false);
    line
}

fn push_time(line: &mut String, name: &str, time: Option<Duration>) {
    line.push_str(name);
    if let Some(time) = time {
        push_number(line, "", u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        line.push_str("ms");
    }
}

fn push_number(line: &mut String, name: &str, number: u64) {
    line.push_str(name);
    line.push_str(Digits::from(number).as_str());
}

/// ` name=value`; in quotes, if it always stands in quotes or could not be told from what follows.
fn push(line: &mut String, name: &str, value: &str, quotes: bool) {
    line.push(' ');
    line.push_str(name);
    line.push('=');
    // Every byte is looked at, whatever is found before: that is quicker.
    let (mut word, mut plain) = (true, value.len() <= LONGEST);
    for byte in value.bytes() {
        let is_plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        plain &= is_plain;
        word &= is_plain && byte != b' ' && byte != b'=';
    }
    let quotes = quotes || !word;
    if quotes {
        line.push('"');
    }
    let start = line.len();
    // Of most values this is all.
    if plain {
        line.push_str(value);
    }
    for c in value.chars().filter(|_| !plain) {
        if line.len() - start >= LONGEST {
            line.push_str("...");
            break;
        }
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    if quotes {
        line.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Arrival;
    use pingora_http::RequestHeader;

    fn facts(fields: &[(&'static str, &str)]) -> Facts {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        Facts::of(
            &request,
            &Arrival {
                peer: "1.2.3.4",
                trusted: false,
                tls: true,
                port: 443,
                start: 0,
                at: std::time::Instant::now(),
            },
        )
    }

    #[test]
    fn a_line_reads_as_herokus() {
        let facts = facts(&[("Host", "a.example.com"), ("X-Request-Id", "0123456789abcdef0123")]);
        let outcome = Outcome {
            code: None,
            dyno: Some("web.1".into()),
            connect: Some(Duration::from_millis(1)),
            service: Some(Duration::from_millis(18)),
            status: Some(200),
            bytes: 13,
        };
        assert_eq!(
            line("GET", "/x?y=1", &facts, &outcome),
            "at=info method=GET path=\"/x?y=1\" host=a.example.com request_id=0123456789abcdef0123 \
             fwd=\"1.2.3.4\" dyno=web.1 connect=1ms service=18ms status=200 bytes=13 protocol=https"
        );
        let failed = Outcome { code: Some(Code::NoDynos), ..Outcome::default() };
        assert_eq!(
            line("GET", "/", &facts, &failed),
            "at=error code=H14 desc=\"No web processes running\" method=GET path=\"/\" host=a.example.com \
             request_id=0123456789abcdef0123 fwd=\"1.2.3.4\" dyno= connect= service= status=503 bytes=0 \
             protocol=https"
        );
    }

    #[test]
    fn a_client_cannot_forge_fields_or_lines() {
        let facts = facts(&[("Host", "a"), ("X-Forwarded-For", "1.1.1.1\" status=\"200")]);
        let said = line("GET", "/\" dyno=web.9 \u{7f}", &facts, &Outcome::default());
        assert!(said.contains("path=\"/\\\" dyno=web.9 \\u{7f}\""), "{said}");
        assert!(said.contains("fwd=\"1.1.1.1\\\" status=\\\"200, 1.2.3.4\""), "{said}");
        let long = line("GET", &format!("/{}", "x".repeat(100_000)), &facts, &Outcome::default());
        assert!(long.len() < 3000 && long.contains("xxx...\""));
    }
}
