//! Lines as drains get them: syslog messages (RFC 5424), each with its length before it (RFC 6587 section 3.4.1),
//! laid out as Heroku's logplex does: <https://github.com/heroku/logplex> and
//! <https://devcenter.heroku.com/articles/log-drains>.

use ruko_api_types::log::LogSource;

use crate::log::Line;

/// Facility and severity: what apps say local7, the router local3, the platform local0, as on Heroku; all of it info.
fn priority(line: &Line) -> u8 {
    match (line.source, line.process()) {
        (LogSource::App, _) => 23 * 8 + 6,
        (LogSource::Heroku, "router") => 19 * 8 + 6,
        (LogSource::Heroku, _) => 16 * 8 + 6,
    }
}

/// For syslog drains: the host name is the drain's token, by which receivers tell apps apart.
pub(super) fn syslog(into: &mut Vec<u8>, line: &Line, token: &str) {
    framed(into, line, token, "- -");
}

/// For HTTP drains: no structured data, not even its absence, which receivers of logplex's messages expect.
pub(super) fn logplex(into: &mut Vec<u8>, line: &Line) {
    framed(into, line, "host", "-");
}

fn framed(into: &mut Vec<u8>, line: &Line, host: &str, blanks: &str) {
    let (priority, moment, source) = (priority(line), line.moment(), line.source.as_str());
    let (process, text) = (line.process(), line.text());
    let message = format!("<{priority}>1 {moment} {host} {source} {process} {blanks} {text}\n");
    into.extend_from_slice(message.len().to_string().as_bytes());
    into.push(b' ');
    into.extend_from_slice(message.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::line::Said;

    fn line(source: LogSource, process: &str, text: &str) -> Line {
        Line::new(1, &Said::all(1_354_258_529_000_000, source, process, text)[0])
    }

    #[test]
    fn frames_are_as_logplex_makes_them() {
        let mut bytes = Vec::new();
        logplex(&mut bytes, &line(LogSource::Heroku, "web.3", "State changed from starting to up"));
        logplex(&mut bytes, &line(LogSource::App, "web.1", "é"));
        syslog(&mut bytes, &line(LogSource::Heroku, "router", "at=info"), "d.1");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "94 <134>1 2012-11-30T06:55:29.000000+00:00 host heroku web.3 - State changed from starting to up\n\
             60 <190>1 2012-11-30T06:55:29.000000+00:00 host app web.1 - é\n\
             70 <158>1 2012-11-30T06:55:29.000000+00:00 d.1 heroku router - - at=info\n"
        );
    }
}
