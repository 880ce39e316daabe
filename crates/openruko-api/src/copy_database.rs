//! `openruko-api copy-database`: moves from SQLite to PostgreSQL and back.

use std::io::Write;
use std::path::PathBuf;

use ruko_core::{Exit, Fault, Hint};
use tokio::runtime::Runtime;

use crate::server::unusable;
use crate::store::Place;
use crate::store::copy::{Copied, CopyError, copy};

/// Copy a whole database into an empty one, from SQLite to PostgreSQL or back
#[derive(Debug, clap::Args)]
#[command(
    after_help = "openruko-api must not be running on either. The target's tables are made; it then gets all rows or
none. A password for a server is read from a file, or as psql does by PGPASSFILE or
~/.pgpass; on a command line it could be seen by other users of this machine.

Example:
  openruko-api copy-database --from sqlite:///var/lib/openruko/api.db \\
    --to 'postgres://openruko@db.example.com/openruko' --to-password-file /etc/openruko/db.password"
)]
pub(crate) struct CopyArgs {
    /// The database to copy: sqlite:///PATH or postgres://…
    // Text here, since clap would show a wrong value, in which there may be a password.
    #[arg(long, value_name = "URL")]
    from: String,
    /// The database to fill: sqlite:///PATH, which is made, or postgres://…
    #[arg(long, value_name = "URL")]
    to: String,
    /// The file with the password for --from
    #[arg(long, value_name = "PATH")]
    from_password_file: Option<PathBuf>,
    /// The file with the password for --to
    #[arg(long, value_name = "PATH")]
    to_password_file: Option<PathBuf>,
}

/// Copies, and says what on stdout.
pub(crate) fn run(args: &CopyArgs) -> Result<Exit, Fault> {
    let from = place("--from", &args.from, &args.from_password_file)?;
    let to = place("--to", &args.to, &args.to_password_file)?;
    let runtime = Runtime::new().try_again("cannot start threads")?;
    let copied = runtime.block_on(copy(&from, &to)).map_err(fault)?;
    tell(&copied, &mut std::io::stdout().lock()).fault("copied, but cannot write to stdout")?;
    Ok(Exit::Ok)
}

fn place(option: &str, url: &str, password_file: &Option<PathBuf>) -> Result<Place, Fault> {
    let database = url.parse().map_err(|why| Fault::usage(format!("the URL of {option} {why}")))?;
    Ok(Place { database, password_file: password_file.clone() })
}

fn tell(copied: &[Copied], out: &mut impl Write) -> std::io::Result<()> {
    for Copied { table, rows } in copied {
        writeln!(out, "{table}: {rows} {}", if *rows == 1 { "row" } else { "rows" })?;
    }
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    writeln!(out, "copied {rows} rows of {} tables", copied.len())
}

fn fault(error: CopyError) -> Fault {
    let hint = match error {
        CopyError::Store(error) => return unusable(error),
        CopyError::InUse(_) => "stop openruko-api first; `openruko up` runs one",
        CopyError::Foreign(_) => "see `database` in [api] of the configuration",
        CopyError::Version { newer: false, .. } => {
            "start this version's openruko-api on it once, and stop it"
        }
        CopyError::Version { newer: true, .. } => "use the openruko-api that wrote it",
        CopyError::NotEmpty { .. } => "choose another one: nothing is overwritten",
        _ => return Fault::from(error),
    };
    Fault::from(error).hint(hint)
}
