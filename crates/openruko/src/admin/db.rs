//! `openruko admin db`: the API's program does the work, this finds it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Subcommand;
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::Tool;

use crate::up::Install;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy a whole database into an empty one, from SQLite to PostgreSQL or back
    #[command(
        after_help = "Stop `openruko up` first: nobody else may use either database. A password for a server is
read from a file, or as psql does by PGPASSFILE or ~/.pgpass. Then name the new database
in [api] of the configuration.

Example:
  openruko admin db copy --from sqlite:///var/lib/openruko/api/openruko.db \\
    --to 'postgres://openruko@db.example.com/openruko' --to-password-file /etc/openruko/db.password"
    )]
    Copy(CopyArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CopyArgs {
    /// The database to copy: sqlite:///PATH or postgres://…
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

/// Runs the openruko-api of this installation, which says what was copied, or why not.
pub(super) fn run(command: Command) -> Result<Exit, Fault> {
    let Command::Copy(args) = command;
    let environment = std::env::vars_os().filter(|(name, _)| is_for_database(name));
    copy(&Install::find()?.api(), args, environment)
}

/// What says how to reach a server: <https://www.postgresql.org/docs/current/libpq-envars.html>, and where
/// trusted certificates are.
fn is_for_database(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("PG") || ["HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"].contains(&name.as_ref())
}

fn copy(
    program: &Path,
    args: CopyArgs,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Exit, Fault> {
    let mut tool = Tool::new(program).args(["copy-database", "--from", &args.from, "--to", &args.to]);
    let files =
        [("--from-password-file", args.from_password_file), ("--to-password-file", args.to_password_file)];
    for (option, file) in files {
        if let Some(file) = file {
            // It is read from another directory.
            tool = tool.arg(option).arg(std::path::absolute(file).fault("the password file cannot be used")?);
        }
    }
    for (name, value) in environment {
        tool = tool.env(name, value);
    }
    let mut command = tool.into_command();
    let done = command.stdout(Stdio::inherit()).stderr(Stdio::inherit()).status();
    let status = done.fault(format!("cannot run `{}`", program.display()))?;
    Ok(match status.code() {
        Some(0) => Exit::Ok,
        Some(2) => Exit::Usage,
        Some(75) => Exit::TryAgain,
        _ => Exit::Refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn copied_by(script: &str, environment: &[(&str, &str)]) -> (Exit, String) {
        let dir = tempfile::tempdir().unwrap();
        let (program, said) = (dir.path().join("openruko-api"), dir.path().join("said"));
        let script = format!("#!/bin/sh\nexec >{}\n{script}\n", said.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let args = CopyArgs {
            from: "sqlite:///a.db".into(),
            to: "postgres:///b".into(),
            from_password_file: None,
            to_password_file: Some("/etc/openruko/p".into()),
        };
        let environment = environment.iter().map(|&(name, value)| (name.into(), value.into()));
        let exit = copy(&program, args, environment.filter(|(name, _)| is_for_database(name))).unwrap();
        (exit, std::fs::read_to_string(said).unwrap())
    }

    #[test]
    fn the_apis_program_gets_the_databases_and_how_to_reach_them_and_nothing_else() {
        let environment = [("PGPASSFILE", "/root/p"), ("SECRET", "x"), ("HOME", "/root")];
        let (exit, said) = copied_by("echo \"$@\"; echo $PGPASSFILE $HOME $SECRET", &environment);
        assert_eq!(exit, Exit::Ok);
        assert_eq!(
            said,
            "copy-database --from sqlite:///a.db --to postgres:///b --to-password-file /etc/openruko/p\n\
             /root/p /root\n"
        );
    }

    #[test]
    fn its_status_is_passed_on() {
        for (status, exit) in [(1, Exit::Refused), (2, Exit::Usage), (75, Exit::TryAgain), (9, Exit::Refused)]
        {
            assert_eq!(copied_by(&format!("exit {status}"), &[]).0, exit);
        }
    }
}
