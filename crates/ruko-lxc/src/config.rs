//! The writer of LXC configuration files (`lxc.container.conf(5)`).

use std::fmt::Write;

use crate::idrange::IdRange;

/// A value with a control character, which could have become more than one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of `{key}` has a control character: `{}`", .value.escape_debug())]
pub struct BadValue {
    /// The key it was meant for.
    pub key: String,
    /// What was refused.
    pub value: String,
}

/// A configuration under construction.
///
/// A line break in a value would be one more directive, so every value goes through [`Config::set`],
/// which refuses control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(String);

impl Config {
    /// Adds one line. Keys are literals of the program; values may come from anywhere.
    ///
    /// # Errors
    /// The value has a control character.
    pub fn set(&mut self, key: &str, value: impl AsRef<str>) -> Result<&mut Self, BadValue> {
        let value = value.as_ref();
        if value.chars().any(char::is_control) {
            return Err(BadValue { key: key.to_owned(), value: value.to_owned() });
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
        Ok(self)
    }

    /// Maps the ids of the container, from 0 on, to a range of the host.
    ///
    /// # Errors
    /// None in practice: numbers have no control characters.
    pub fn id_map(&mut self, ids: IdRange) -> Result<&mut Self, BadValue> {
        for kind in ["u", "g"] {
            self.set("lxc.idmap", format!("{kind} 0 {} {}", ids.first, ids.count))?;
        }
        Ok(self)
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The mount points, as absolute paths in the container, that a configuration asks to be read-only.
/// Read back from the text, since a template appends to it.
pub fn read_only_targets(text: &str) -> Vec<String> {
    text.lines().filter_map(read_only_target).collect()
}

fn read_only_target(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    if key.trim() != "lxc.mount.entry" {
        return None;
    }
    let mut fields = value.split_whitespace();
    let (_source, target, _kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let read_only = options.split(',').any(|option| option == "ro");
    read_only.then(|| format!("/{}", target.trim_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_a_second_directive() {
        let mut config = Config::default();
        for hostile in ["a\nlxc.hook.start-host = /bin/sh", "a\rb", "a\0b", "a\tb"] {
            assert!(config.set("lxc.uts.name", hostile).is_err(), "{hostile:?}");
        }
        assert_eq!(config.text(), "");
        config.set("lxc.uts.name", "web-1").unwrap();
        assert_eq!(config.text(), "lxc.uts.name = web-1\n");
    }

    #[test]
    fn read_only_targets_are_found_in_what_a_template_appended() {
        let text = "lxc.mount.entry = /usr usr none bind,ro,nosuid,nodev 0 0\n\
            lxc.mount.entry=/a etc/ssl/certs none bind,ro,create=dir 0 0\n\
            lxc.mount.entry = tmpfs dev/shm tmpfs rw,nosuid 0 0\n# lxc.mount.entry = x y none ro 0 0\n";
        assert_eq!(read_only_targets(text), ["/usr", "/etc/ssl/certs"]);
    }

    #[test]
    fn both_kinds_of_ids_are_mapped() {
        let mut config = Config::default();
        config.id_map(IdRange { first: 1_000_000, count: 65536 }).unwrap();
        assert_eq!(config.text(), "lxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 1000000 65536\n");
    }
}
