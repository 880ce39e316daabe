//! openruko-config(5): every key of the configuration, out of the doc comments of its types, so that none is forgotten.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ruko_manual::escaped;

const SOURCE: &str = include_str!("../src/config.rs");

const HEAD: &str = "\
.TH openruko-config 5 \"\" openruko openruko
.SH NAME
openruko\\-config \\- the configuration of openruko
.SH SYNOPSIS
/etc/openruko/config.toml, or what \\fBOPENRUKO_CONFIG\\fR or \\fB\\-\\-config\\fR names
.SH DESCRIPTION
One TOML file, with a table for each program; a key that is not known is an error. \\fIPROGRAM\\fR
\\fB\\-\\-check\\fR reads it and acts on nothing; \\fBopenruko doctor\\fR looks at what it names.
.PP
Secrets are not in it: it names files of mode 0600 or 0640 that hold them.
.PP
For openruko\\-api, openruko\\-serve and \\fBopenruko admin\\fR every key of a simple value can be overridden by the
environment variable OPENRUKO_\\fITABLE\\fR_\\fIKEY\\fR. What acts as root reads the file alone.
";

/// A table, with its keys in order.
struct Table {
    title: String,
    about: String,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    about: String,
    /// What holds without it; none where it has to be there.
    default: Option<String>,
}

#[test]
fn every_key_is_in_the_manual() {
    let tables = tables();
    assert!(tables.len() > 12, "{}", tables.len());
    let mut page = HEAD.to_owned();
    for table in &tables {
        writeln!(page, ".SH \"{}\"\n{}", escaped(&table.title), text(&table.about)).unwrap();
        for Key { name, about, default } in &table.keys {
            assert!(!about.is_empty(), "{} of {} is not described", name, table.title);
            let default = match default {
                Some(value) => format!(" Default: {}.", escaped(value)),
                None => " It has to be there.".to_owned(),
            };
            writeln!(page, ".TP\n.B {}\n{}{default}", escaped(name), text(about)).unwrap();
        }
    }
    page.push_str(
        ".SH \"SEE ALSO\"\n\\fBopenruko\\fR(1), \\fBopenruko\\-serve\\fR(8), \\fBruko\\-container\\fR(8)\n",
    );
    ruko_manual::keep_file(Path::new("docs/man/openruko-config.5"), &page);
}

/// Without the marks of Markdown.
fn text(about: &str) -> String {
    escaped(&about.replace('`', ""))
}

/// The tables, as their types stand in the source. A type whose description begins with a table's name is one.
fn tables() -> Vec<Table> {
    let defaults = defaults();
    let (mut tables, mut about, mut attributes) = (Vec::<Table>::new(), String::new(), String::new());
    let mut of_type = String::new();
    for line in SOURCE.lines().take_while(|line| !line.starts_with("impl Config {")) {
        let trimmed = line.trim();
        if let Some(doc) = trimmed.strip_prefix("///") {
            about = format!("{about} {}", doc.trim()).trim().to_owned();
        } else if trimmed.starts_with("#[") {
            attributes.push_str(trimmed);
        } else if let Some(name) =
            trimmed.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {"))
        {
            of_type = name.to_owned();
            if let Some((title, rest)) = about.strip_prefix('`').and_then(|rest| rest.split_once("`: ")) {
                let mut rest = rest.to_owned();
                if !rest.starts_with("openruko") && !rest.starts_with("ruko") {
                    rest[..1].make_ascii_uppercase();
                }
                tables.push(Table { title: title.to_owned(), about: rest, keys: Vec::new() });
            } else {
                of_type.clear();
            }
            (about, attributes) = Default::default();
        } else if let Some((name, kind)) = trimmed.strip_prefix("pub ").and_then(|rest| rest.split_once(": "))
        {
            if line.starts_with("    pub ") && !of_type.is_empty() {
                let default = default(&defaults, &of_type, name, kind, &attributes);
                let key = Key { name: name.to_owned(), about: std::mem::take(&mut about), default };
                tables.last_mut().unwrap().keys.push(key);
            }
            (about, attributes) = Default::default();
        } else {
            (about, attributes) = Default::default();
        }
        if line == "}" {
            of_type.clear();
        }
    }
    tables
}

fn default(
    defaults: &BTreeMap<String, String>,
    of_type: &str,
    name: &str,
    kind: &str,
    attributes: &str,
) -> Option<String> {
    if let Some(value) = defaults.get(&format!("{of_type}.{name}")) {
        return Some(value.clone());
    }
    if let Some(function) = attributes.split("default = \"").nth(1).and_then(|rest| rest.split('"').next()) {
        return Some(defaults.get(function).unwrap_or_else(|| panic!("no {function}")).clone());
    }
    let kind = kind.trim_end_matches(',');
    match kind {
        "bool" if attributes.contains("default") => Some("false".to_owned()),
        _ if kind.starts_with("Option<") => Some("none".to_owned()),
        _ if kind.starts_with("Vec<") || kind.starts_with("BTreeMap<") => Some("none".to_owned()),
        _ if attributes.contains("default") => Some("as its own keys say".to_owned()),
        _ => None,
    }
}

/// What `fn default_x()` and the fields of `impl Default` say, by `default_x` and `Type.field`.
fn defaults() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let (mut function, mut of_type) = (None::<String>, None::<String>);
    for line in SOURCE.lines() {
        let trimmed = line.trim();
        if let Some(rest) = trimmed.strip_prefix("const fn default_").or(trimmed.strip_prefix("fn default_"))
        {
            function = rest.split('(').next().map(|name| format!("default_{name}"));
        } else if let Some(name) =
            trimmed.strip_prefix("impl Default for ").and_then(|rest| rest.strip_suffix(" {"))
        {
            of_type = Some(name.to_owned());
        } else if line == "}" {
            (function, of_type) = (None, None);
        } else if let Some(name) = function.as_ref().filter(|_| !trimmed.starts_with("//")) {
            found.entry(name.clone()).or_insert_with(|| value(trimmed));
        } else if let Some(of_type) = of_type.as_ref().filter(|_| !trimmed.starts_with("//")) {
            let fields = trimmed.trim_start_matches("Self {").trim_end_matches('}').split(',');
            for (field, text) in fields.filter_map(|field| field.split_once(": ")) {
                found.insert(format!("{of_type}.{}", field.trim()), value(text.trim()));
            }
        }
    }
    found
}

/// A literal as people read it.
fn value(text: &str) -> String {
    if let Some((number, shift)) = text.split_once(" << ") {
        return (number.parse::<u64>().unwrap() << shift.parse::<u32>().unwrap()).to_string();
    }
    let text = text.replace(".into()", "");
    text.trim_start_matches("vec![").trim_end_matches(']').replace('"', "")
}

#[test]
fn literals_are_read_as_what_they_mean() {
    assert_eq!(value("2 << 10"), "2048");
    assert_eq!(value("vec![\"refs/heads/main\".into()]"), "refs/heads/main");
    let defaults = defaults();
    assert_eq!(defaults["default_slot_seconds"], "600");
    assert_eq!(defaults["BuildLimits.pids"], "1024");
    assert_eq!(defaults["DynoLimits.pids"], "32768");
}
