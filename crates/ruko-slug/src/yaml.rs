//! What is read of a buildpack's release document.
//!
//! The document is printed by code that somebody else wrote, so it is read as a stream of parser events
//! and not as a tree: an alias that stands for a thousand others then costs nothing, and no surprise in
//! the types can fail. Only `default_process_types` counts ("Buildpack API", Heroku Dev Center).

use std::collections::BTreeMap;

use ruko_core::ProcessType;
use saphyr_parser::{Event, Parser};

use crate::procfile::MAX_TYPES;

/// The largest release document that is read, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// Enough to see what is wrong.
const MAX_WARNINGS: usize = 10;

/// The process types of a release document, and what of it could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// `default_process_types`.
    pub default_process_types: BTreeMap<ProcessType, String>,
    /// A sentence each.
    pub warnings: Vec<String>,
}

/// Reads the first document. What is no YAML ends it with a warning; what came before it counts.
pub fn parse(document: &[u8]) -> Release {
    let mut reader = Reader::default();
    if document.len() > MAX_BYTES {
        reader.warn(format!("is longer than {MAX_BYTES} bytes, and only these are read"));
    }
    let text = String::from_utf8_lossy(&document[..document.len().min(MAX_BYTES)]);
    for event in Parser::new_from_str(&text) {
        match event {
            Ok((Event::DocumentEnd, _)) => break,
            Ok((event, _)) => reader.take(&event),
            Err(e) => {
                reader.warn(format!("is not YAML: {e}"));
                break;
            }
        }
    }
    reader.release
}

/// Where the reader is, counted in open mappings and lists.
#[derive(Default)]
struct Reader {
    depth: usize,
    /// At each of the two upper levels: the key whose value comes next.
    keys: [Option<String>; 2],
    /// Whether the level is a mapping.
    mapping: [bool; 2],
    release: Release,
}

const SECTION: &str = "default_process_types";

impl Reader {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::MappingStart(..) => self.open(true),
            Event::SequenceStart(..) => self.open(false),
            Event::MappingEnd | Event::SequenceEnd => self.close(),
            Event::Scalar(text, ..) => self.node(Some(text)),
            Event::Alias(_) => self.node(None),
            _ => {}
        }
    }

    fn open(&mut self, mapping: bool) {
        // A mapping or list is the value of the key before it, and used up as such when it closes.
        if let Some(level) = self.mapping.get_mut(self.depth) {
            *level = mapping;
            self.keys[self.depth] = None;
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(above) = self.depth.checked_sub(1) {
            self.complete(above, None);
        }
    }

    fn node(&mut self, text: Option<&str>) {
        if let Some(level) = self.depth.checked_sub(1) {
            self.complete(level, text);
        }
    }

    /// A node of this level is complete: it is a key, or the value of the key before.
    fn complete(&mut self, level: usize, text: Option<&str>) {
        if level >= self.keys.len() || !self.mapping[level] {
            return;
        }
        match self.keys[level].take() {
            None => self.keys[level] = Some(text.unwrap_or_default().to_owned()),
            Some(name) if level == 1 && self.keys[0].as_deref() == Some(SECTION) => self.process(&name, text),
            Some(_) => {}
        }
    }

    fn process(&mut self, name: &str, command: Option<&str>) {
        let is_null = |command: &&str| ["", "~", "null"].contains(command);
        let command = command.map(str::trim).filter(|command| !is_null(command));
        if self.release.default_process_types.len() >= MAX_TYPES {
            return self.warn(format!("names more than {MAX_TYPES} process types; the others are ignored"));
        }
        match (name.parse::<ProcessType>(), command) {
            (Ok(name), Some(command)) => {
                self.release.default_process_types.insert(name, command.to_owned());
            }
            (Err(bad), _) => self.warn(format!("names a process type wrongly: {bad}")),
            (Ok(name), None) => self.warn(format!("gives no command for {name}")),
        }
    }

    fn warn(&mut self, what: String) {
        if self.release.warnings.len() < MAX_WARNINGS && !self.release.warnings.contains(&what) {
            self.release.warnings.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn types(document: &str) -> Vec<(String, String)> {
        let types = parse(document.as_bytes()).default_process_types;
        types.into_iter().map(|(name, command)| (name.to_string(), command)).collect()
    }

    fn pair(name: &str, command: &str) -> (String, String) {
        (name.to_owned(), command.to_owned())
    }

    #[test]
    fn what_buildpacks_print_is_read() {
        let document = "---\naddons:\n  - a\n  - {default_process_types: {x: y}}\nconfig_vars:\n  web: no\n\
                        default_process_types:\n  web: bundle exec rails s -p $PORT\n  rake: \"bundle exec rake\"\n";
        assert_eq!(
            types(document),
            [pair("rake", "bundle exec rake"), pair("web", "bundle exec rails s -p $PORT")]
        );
        assert_eq!(types("--- {default_process_types: {web: npm start}}"), [pair("web", "npm start")]);
        assert_eq!(
            types("{\"default_process_types\": {\"web\": \"npm start\"}}"),
            [pair("web", "npm start")]
        );
    }

    #[test]
    fn empty_documents_are_fine() {
        for document in ["", "---", "--- {}\n", "# nothing\n", "--- ~\n", "addons: []\n", "[]"] {
            assert_eq!(parse(document.as_bytes()), Release::default(), "{document:?}");
        }
    }

    #[test]
    fn surprising_types_are_no_harm() {
        assert_eq!(
            types("default_process_types:\n  web: 5\n  run: true\n"),
            [pair("run", "true"), pair("web", "5")]
        );
        assert_eq!(types("default_process_types:\n"), []);
        assert_eq!(types("default_process_types: [web, x]\n"), []);
        assert_eq!(
            types("default_process_types:\n  web: [a, b]\n  run: {x: y}\n  ok: a\n"),
            [pair("ok", "a")]
        );
        assert_eq!(types("default_process_types:\n  ? [a]\n  : b\n  ok: a\n"), [pair("ok", "a")]);
        assert_eq!(types("- default_process_types: {web: x}\n"), []);
        assert_eq!(types("a: &x {web: y}\ndefault_process_types: *x\n"), []);
        assert_eq!(types("x: {default_process_types: {web: y}}\n"), []);
        let bad = parse(b"default_process_types:\n  \"-x\": a\n  web: a\n  no: \n");
        assert_eq!(bad.default_process_types.len(), 1);
        assert_eq!(bad.warnings.len(), 2, "{:?}", bad.warnings);
    }

    #[test]
    fn the_number_of_types_is_bounded() {
        let many: String = (0..MAX_TYPES + 5).map(|n| format!("  t{n}: x\n")).collect();
        let release = parse(format!("default_process_types:\n{many}").as_bytes());
        assert_eq!(release.default_process_types.len(), MAX_TYPES);
        assert!(release.warnings.len() == 1 && release.warnings[0].contains("100"), "{:?}", release.warnings);
    }

    #[test]
    fn what_is_no_yaml_is_a_warning() {
        let release = parse(b"default_process_types: {web: a}\n\tx: ][");
        assert_eq!(release.warnings.len(), 1);
    }

    #[test]
    fn a_document_that_is_too_long_is_read_as_far_as_it_may_be() {
        let document = format!("default_process_types: {{web: a}}\n# {}", "x".repeat(MAX_BYTES));
        let release = parse(document.as_bytes());
        assert_eq!(release.default_process_types.len(), 1);
        assert_eq!(release.warnings, ["is longer than 65536 bytes, and only these are read"]);
    }

    #[test]
    fn depth_costs_nothing() {
        for open in ["[", "{a: ", "- ", "? "] {
            let document = format!("default_process_types: {{web: a}}\nx: \n  {}", open.repeat(MAX_BYTES));
            parse(document.as_bytes());
        }
    }

    #[test]
    fn aliases_of_aliases_cost_nothing() {
        let mut document = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..30 {
            document += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","));
        }
        document += "default_process_types: {web: a}\n";
        assert_eq!(types(&document), [pair("web", "a")]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
        }

        #[test]
        fn yaml_like_text_is_read(text in "[a-z:\\-{}\\[\\]&*?|>\"'~ \n]{0,80}") {
            parse(text.as_bytes());
        }

        #[test]
        fn a_plain_type_is_read_exactly(name in "[a-z][a-z0-9_-]{0,20}", command in "[a-z][a-z0-9 $&/.=-]{0,30}[a-z]") {
            let document = format!("---\ndefault_process_types:\n  {name}: {command}\n");
            prop_assume!(name != "null");
            prop_assert_eq!(types(&document), [pair(&name, &command)]);
        }
    }
}
