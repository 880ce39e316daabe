//! `openruko admin key`.

use std::io::{Read, Write};

use clap::Subcommand;
use ruko_api_client::{ApiClient, ApiClientError};
use ruko_core::{Fault, UserName};

use super::{Done, Error, as_cause, read_text, show};

/// The largest key file that is read, in bytes.
const MAX_KEY: u64 = 16 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Give a user a key; one that they have already stays as it is
    Add {
        /// The user's name
        user: UserName,
        /// The .pub file; `-` reads the key from stdin
        file: String,
    },
    /// List the keys of a user: fingerprint, type, comment
    List {
        /// The user's name
        user: UserName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a key from a user
    Remove {
        /// The user's name
        user: UserName,
        /// As `key list` prints it: SHA256:…
        fingerprint: String,
    },
}

/// Names the file where it is the key in it that is refused.
fn about(file: &str, error: ApiClientError) -> Error {
    match error.status() {
        Some(409 | 422) => Fault::refused(format!("`{file}`: {}", as_cause(&error.to_string()))).into(),
        _ => error.into(),
    }
}

pub(super) fn run(command: Command, client: &ApiClient, stdin: &mut dyn Read, out: &mut dyn Write) -> Done {
    match command {
        Command::Add { user, file } => {
            let text = read_text(&file, stdin, MAX_KEY)?;
            // Judged by the API, but a private key should not even be sent.
            if text.contains("PRIVATE KEY") {
                return Err(Fault::refused(format!("`{file}` is a private key"))
                    .hint("give the .pub file that lies beside it")
                    .into());
            }
            let key = client.add_key(&user, text).map_err(|error| about(&file, error))?;
            let fingerprint = key.thing.fingerprint;
            match key.new {
                true => writeln!(out, "key {fingerprint} added to `{user}`")?,
                false => writeln!(out, "key {fingerprint} was there already")?,
            }
        }
        Command::List { user, json } => {
            let keys = client.keys(&user)?;
            if json {
                return Ok(show::json(out, &keys)?);
            }
            let algorithm = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
            let rows: Vec<_> = keys
                .into_iter()
                .map(|key| [key.fingerprint, algorithm(&key.public_key), key.comment])
                .collect();
            show::table(out, &rows)?;
        }
        Command::Remove { user, fingerprint } => {
            client.remove_key(&user, &fingerprint)?;
            writeln!(out, "key {fingerprint} removed from `{user}`")?;
        }
    }
    Ok(())
}
