//! Man pages and completions, made from the command lines of the programs and kept in the repository, so that
//! installing needs no program that makes them.
//!
//! Each program's tests call [`keep`], which compares what is kept with what the program's command line says now. With
//! `UPDATE_MANUAL=1` in the environment (`make manual`) it writes instead. No program has this as a dependency: it is
//! for tests.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// The environment variable that has files written instead of compared.
const UPDATE: &str = "UPDATE_MANUAL";

/// Where man pages are kept.
const MAN: &str = "docs/man";

/// Where completions are kept.
const COMPLETIONS: &str = "completions";

/// Compares the man page of a program, in this section of the manual, and its completions with what is kept, and sees
/// to it that its help has examples: for each command that people type, in its own help or in that of the program.
pub fn keep(command: Command, section: &str) {
    let command = keep_page(command, section);
    let name = command.get_name().to_owned();
    for (shell, suffix) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let mut made = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), name.as_str(), &mut made);
        keep_file(&Path::new(COMPLETIONS).join(format!("{name}.{suffix}")), &String::from_utf8_lossy(&made));
    }
}

/// The same without completions, for a program that prints them itself. Gives the command line with all that clap adds
/// to it.
pub fn keep_page(command: Command, section: &str) -> Command {
    let mut command = command;
    command.build();
    assert_eq!(without_example(&command), [""; 0], "their --help has no example");
    let path = Path::new(MAN).join(format!("{}.{section}", command.get_name()));
    keep_file(&path, &in_ascii(&page(&command, section)));
    command
}

/// Compares a file of the repository, named from its top, with what it should be; or writes it.
pub fn keep_file(path: &Path, wanted: &str) {
    let whole = top().join(path);
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(whole.parent().unwrap_or(Path::new("/"))).unwrap_or_else(|why| panic!("{why}"));
        fs::write(&whole, wanted).unwrap_or_else(|why| panic!("{}: {why}", whole.display()));
        return;
    }
    let kept = fs::read_to_string(&whole).unwrap_or_default();
    assert!(kept == wanted, "{} is not what the program says now: run `make manual`", path.display());
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The commands that can be seen, each with the words that lead to it.
fn commands<'a>(command: &'a Command, words: &str) -> Vec<(String, &'a Command)> {
    let mut found = vec![(words.to_owned(), command)];
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        found.extend(commands(sub, &format!("{words} {}", sub.get_name())));
    }
    found
}

/// The commands whose help shows no example: the program itself, and of the single steps each of their commands.
fn without_example(command: &Command) -> Vec<String> {
    let help = |command: &Command| command.clone().render_long_help().to_string();
    let (name, whole) = (command.get_name(), help(command));
    // A program's example names the command by its words, with or without options before them.
    let shown = |words: &str| {
        let words = words.trim_start_matches(name).trim();
        whole.lines().any(|line| line.contains(name) && line.contains(words))
    };
    let has_one = |words: &str, sub: &Command| {
        let own = help(sub).contains("Example");
        let is_step = words != name && name.starts_with("ruko-") && !sub.has_subcommands();
        if words == name { own } else { own || !is_step || shown(words) }
    };
    let lacking = commands(command, name).into_iter().filter(|(words, sub)| !has_one(words, sub));
    lacking.map(|(words, _)| words).collect()
}

/// One page for the whole program: its own sections, then one for each of its commands.
fn page(command: &Command, section: &str) -> String {
    // A date would change the page with every build.
    let man = Man::new(command.clone()).section(section).date("").manual("openruko").source("openruko");
    let mut page = rendered(|out| {
        man.render_title(out)?;
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)
    });
    let all = commands(command, command.get_name());
    if all.len() > 1 {
        page.push_str(".SH COMMANDS\n");
    }
    for (words, sub) in all.iter().skip(1).filter(|(_, sub)| !sub.has_subcommands()) {
        page.push_str(&of_command(words, sub));
    }
    page.push_str(&examples(command));
    page.push_str(".SH \"SEE ALSO\"\n\\fBopenruko\\-config\\fR(5), \\fBopenruko\\fR(1)\n");
    page
}

/// A command of a program: what it does and takes. What all commands take is said once.
fn of_command(words: &str, command: &Command) -> String {
    let is_own =
        |arg: &clap::Arg| !arg.is_global_set() && arg.get_id() != "help" && arg.get_id() != "version";
    let man = Man::new(command.clone().mut_args(|arg| if is_own(&arg) { arg } else { arg.hide(true) }));
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut text = format!(".SS \"{}\"\n{}\n", escaped(words), escaped(&about));
    let options = rendered(|out| man.render_options_section(out));
    text.extend(options.lines().filter(|line| !line.starts_with(".SH")).map(|line| format!("{line}\n")));
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    if let Some(after) = after {
        text.push_str(&format!(".PP\n.nf\n{}\n.fi\n", escaped(&after)));
    }
    text
}

fn examples(command: &Command) -> String {
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    after.map(|after| format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(&after))).unwrap_or_default()
}

fn rendered(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).unwrap_or_else(|why| panic!("{why}"));
    String::from_utf8_lossy(&out).into_owned()
}

/// Text as roff takes it for text (groff(7), "Escape sequences"; groff_char(7)).
pub fn escaped(text: &str) -> String {
    let text = in_ascii(&text.replace('\\', "\\e").replace('-', "\\-"));
    let lines = text.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Other characters as groff names them (groff_char(7)): its input is not UTF-8.
fn in_ascii(text: &str) -> String {
    let named = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    text.chars().map(named).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;

    #[test]
    fn text_cannot_be_taken_for_a_request() {
        assert_eq!(escaped("a-b\n.so /etc/passwd\nx\\y"), "a\\-b\n\\&.so /etc/passwd\nx\\ey");
        assert_eq!(escaped("01jd…"), "01jd\\[u2026]");
    }

    /// As `man` shows it, without a complaint. It takes Debian's package groff-base.
    #[test]
    fn every_man_page_can_be_shown() {
        let dir = top().join(MAN);
        let pages = fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
        assert!(pages.len() >= 9, "{pages:?}");
        for page in pages {
            let text = fs::read_to_string(&page).unwrap();
            assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{}", page.display());
            let shown = Process::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&page).output();
            let shown = shown.expect("groff is there: `make deps` installs it");
            let said = String::from_utf8_lossy(&shown.stderr).into_owned();
            assert!(shown.status.success() && said.is_empty(), "{}: {said}", page.display());
        }
    }

    #[test]
    fn a_command_without_an_example_is_named() {
        let command = Command::new("ruko-x")
            .after_help("Example:\n  ruko-x --dir a one")
            .subcommand(Command::new("one"));
        assert!(without_example(&command).is_empty());
        assert_eq!(without_example(&command.subcommand(Command::new("two"))), ["ruko-x two"]);
        assert_eq!(without_example(&Command::new("openruko-y")), ["openruko-y"]);
    }
}
