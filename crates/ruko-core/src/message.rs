//! What an app developer sees: Heroku's line shapes (push-path contract: a step begins with an arrow,
//! details are indented seven spaces, trouble begins with ` !     `).

use std::fmt;

/// A step of the push: `-----> Python app detected`.
pub fn step(text: impl fmt::Display) -> String {
    format!("-----> {text}")
}

/// A detail under a step, indented seven spaces.
pub fn detail(text: impl fmt::Display) -> String {
    format!("       {text}")
}

/// Trouble: ` !     Push rejected …`. Several lines become several marked lines.
pub fn trouble(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let lines: Vec<String> = text.lines().map(|line| format!(" !     {line}")).collect();
    lines.join("\n")
}

/// A number of bytes as people write it: `87 B`, `1.4 KB`, `12.0 MB`, `4.0 GB` (powers of 1024).
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is printed")]
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(bytes(87), "87 B");
        assert_eq!(bytes(1434), "1.4 KB");
        assert_eq!(bytes(12 << 20), "12.0 MB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MB");
        assert_eq!(bytes(4 << 30), "4.0 GB");
    }

    #[test]
    fn every_line_of_trouble_is_marked() {
        assert_eq!(trouble("one\ntwo"), " !     one\n !     two");
    }
}
