//! `openruko admin user`.

use std::io::{IsTerminal, Read, Write};

use clap::Subcommand;
use ruko_api_client::ApiClient;
use ruko_api_types::{NewToken, NewUser, User, UserChanges};
use ruko_core::{EmailAddress, Fault, Hint, UserName};

use super::{Done, Error, read_text, show};

/// More than the longest password that the API takes, in bytes.
const MAX_PASSWORD: u64 = 4096;

/// The longest life of a token that ends at all, in days. The API has the same bound for those that users
/// make.
const MAX_DAYS: u64 = 3650;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user; one that is there already stays as it is
    Add {
        /// The user's name
        name: UserName,
        /// The e-mail address, by which the user can log in, too
        #[arg(long)]
        email: Option<EmailAddress>,
        /// The user looks after the whole installation: may do everything with every app
        #[arg(long)]
        site_admin: bool,
    },
    /// Set a user's e-mail address, or whether they look after the whole installation
    Set {
        /// The user's name
        name: UserName,
        #[command(flatten)]
        change: Change,
    },
    /// Set a user's password; every token of the user ends with an old one
    #[command(after_help = "Without `-` and --generate the password is asked for on the terminal.

Examples:
  openruko admin user password matt
  pass show openruko/matt | openruko admin user password matt -
  openruko admin user password matt --generate")]
    Password {
        /// The user's name
        name: UserName,
        /// `-` to read the password from stdin
        #[arg(value_name = "-", value_parser = ["-"], conflicts_with = "generate")]
        from: Option<String>,
        /// Make a password up, and print it
        #[arg(long)]
        generate: bool,
    },
    /// Print a new token of a user
    Token {
        /// The user's name
        name: UserName,
        /// Days until it ends; without it never
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=MAX_DAYS))]
        expires: Option<u64>,
        /// What it is for
        #[arg(long, default_value = "made by openruko admin")]
        description: String,
    },
    /// Turn off the second factor of a user who lost it
    #[command(name = "reset-2fa")]
    ResetTwoFactor {
        /// The user's name
        name: UserName,
    },
    /// List all users
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a user who owns no apps, with their keys and their access to apps
    Remove {
        /// The user's name
        name: UserName,
    },
}

/// What changes of a user: one thing at least.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Change {
    /// The e-mail address, by which the user can log in, too
    #[arg(long)]
    email: Option<EmailAddress>,
    /// The user looks after the whole installation: may do everything with every app
    #[arg(long, conflicts_with = "no_site_admin")]
    site_admin: bool,
    /// The user does not any more
    #[arg(long)]
    no_site_admin: bool,
}

pub(super) fn run(command: Command, client: &ApiClient, stdin: &mut dyn Read, out: &mut dyn Write) -> Done {
    match command {
        Command::Add { name, email, site_admin } => {
            match client.make_user(&NewUser { name: name.clone(), email, site_admin })?.new {
                true => writeln!(out, "user `{name}` added")?,
                false => writeln!(out, "user `{name}` was there already")?,
            }
        }
        Command::Set { name, change } => {
            let Change { email, site_admin, no_site_admin } = change;
            let site_admin = (site_admin || no_site_admin).then_some(site_admin);
            let user = client.change_user(&name, &UserChanges { email, site_admin })?;
            writeln!(out, "user `{name}`: {}", described(&user))?;
        }
        Command::Password { name, from, generate } => {
            let password = match (from, generate) {
                (_, true) => None,
                (Some(file), false) => Some(piped(&file, stdin)?),
                (None, false) => Some(asked(&name)?),
            };
            set_password(&name, password, client, out)?;
        }
        Command::Token { name, expires, description } => {
            let expires_in = expires.map(|days| days * 24 * 3600);
            let made = client.add_token(&name, &NewToken { description, expires_in })?;
            writeln!(out, "{}", made.token)?;
        }
        Command::ResetTwoFactor { name } => {
            client.reset_two_factor(&name)?;
            writeln!(out, "user `{name}` logs in without a second factor")?;
        }
        Command::List { json } => {
            let users = client.users()?;
            if json {
                return Ok(show::json(out, &users)?);
            }
            let row = |user: User| {
                let role = if user.site_admin { "site admin" } else { "" };
                [user.name.into(), user.created_at, role.to_owned(), user.email.unwrap_or_default()]
            };
            show::table(out, &users.into_iter().map(row).collect::<Vec<_>>())?;
        }
        Command::Remove { name } => {
            client.remove_user(&name)?;
            writeln!(out, "user `{name}` removed")?;
        }
    }
    Ok(())
}

fn described(user: &User) -> String {
    let email = user.email.as_deref().unwrap_or("no e-mail address");
    let role = if user.site_admin { "site admin" } else { "no site admin" };
    format!("{email}, {role}")
}

/// The first line of stdin.
fn piped(name: &str, stdin: &mut dyn Read) -> Result<String, Fault> {
    let text = read_text(name, stdin, MAX_PASSWORD)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Typed twice on the terminal, without being shown.
fn asked(name: &UserName) -> Result<String, Fault> {
    if !std::io::stdin().is_terminal() {
        let fault = Fault::usage("there is no terminal to ask for the password on");
        return Err(fault.hint("give `-` to read it from stdin, or --generate"));
    }
    let ask = |prompt: String| rpassword::prompt_password(prompt).fault("cannot read the password");
    let password = ask(format!("New password of {name}: "))?;
    if ask("Again: ".to_owned())? != password {
        return Err(Fault::refused("the two are not the same, the password stays as it was"));
    }
    Ok(password)
}

fn set_password(
    name: &UserName,
    password: Option<String>,
    client: &ApiClient,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let set = client.set_password(name, password)?;
    match set.generated {
        Some(password) => writeln!(out, "{password}")?,
        None => writeln!(out, "user `{name}` has a new password")?,
    }
    if set.ended_tokens > 0 {
        // To stderr: a script that reads the password must not read this.
        let _ =
            writeln!(std::io::stderr(), "openruko: {} tokens of `{name}` ended with it", set.ended_tokens);
    }
    Ok(())
}
