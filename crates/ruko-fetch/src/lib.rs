//! `get`, `put` and `extract` for people and scripts: one object from or to storage, or an archive into a
//! directory.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ruko_archive::LinkRule;
use ruko_core::{Exit, Fault};

mod extract;
mod get;
mod put;
mod stream;

const PROGRAM: &str = "ruko-fetch";

#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    about = "Get, put and extract objects from storage",
    after_help = "Example:\n  ruko-fetch get file:///srv/openruko/slugs/my-app/1.tar.gz | ruko-fetch extract --into app"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(GetArgs),
    Put(PutArgs),
    Extract(ExtractArgs),
}

/// Write an object to stdout or to a file
#[derive(Debug, Args)]
#[command(after_help = "Exit status 1 when there is no such object.\n\n\
    Example:\n  ruko-fetch get file:///srv/openruko/repos/my-app/41.tar.gz --output repo.tar.gz")]
struct GetArgs {
    /// Where the object is stored
    url: String,
    /// A file that is written whole or not at all; `-` is stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

/// Store stdin or a file as an object, and print its size in bytes and its SHA-256
#[derive(Debug, Args)]
#[command(after_help = "On any failure the object is as it was before.\n\n\
    Example:\n  ruko-fetch put file:///srv/openruko/slugs/my-app/1.tar.gz --input slug.tar.gz --json")]
struct PutArgs {
    /// Where the object is to be stored
    url: String,
    /// The file to store; `-` is stdin
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Refuse more than this many bytes
    #[arg(long, value_name = "N", default_value_t = MAX_BYTES)]
    max_bytes: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Unpack a tar.gz beneath a directory
#[derive(Debug, Args)]
#[command(after_help = "Root does not unpack: run it as the user who shall own the files.\n\n\
    Example:\n  ruko-fetch extract --into app slug.tar.gz")]
struct ExtractArgs {
    /// The directory, which exists
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
    /// Refuse files of together more than this many bytes
    #[arg(long, value_name = "N", default_value_t = MAX_BYTES)]
    max_bytes: u64,
    /// Refuse more than this many files, directories and links
    #[arg(long, value_name = "N", default_value_t = MAX_ENTRIES)]
    max_entries: u64,
    /// Where symbolic links in the archive may point
    #[arg(long, value_enum, default_value_t = Links::Inside)]
    links: Links,
    /// The archive; `-` is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    archive: PathBuf,
}

/// Where symbolic links may point. They are stored, and not followed, either way.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Links {
    /// Beneath the directory
    Inside,
    /// Anywhere; slugs contain links to /app
    Any,
}

impl From<Links> for LinkRule {
    fn from(links: Links) -> Self {
        match links {
            Links::Inside => Self::Inside,
            Links::Any => Self::Any,
        }
    }
}

const MAX_BYTES: u64 = 4 << 30;
const MAX_ENTRIES: u64 = 1_000_000;

/// Runs the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ruko_cli::main(PROGRAM, args, |cli: Cli| run(cli.command))
}

fn run(command: Command) -> Result<Exit, Fault> {
    match command {
        Command::Get(args) => get::get(&args),
        Command::Put(args) => put::put(&args),
        Command::Extract(args) => extract::extract(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Cli as clap::CommandFactory>::command(), "1");
    }
}
