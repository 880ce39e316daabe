//! Dynos for one command: what is asked for, judged, and where its terminal is.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use ruko_api_types::host::RendezvousPlace;
use ruko_api_types::platform::{EnvValue, NewDyno};
use ruko_core::dyno::TerminalSize;
use ruko_core::{ConfigVarName, UserName};
use sqlx::AnyConnection;

use crate::controllers::hosts::ONE_OFF_NUMBERS;
use crate::dyno_size::DynoSize;
use crate::errors::{Answer, ApiFault};
use crate::formation;
use crate::judge;
use crate::running::RUN;
use crate::store::apps::AppRow;
use crate::store::one_offs::{self, NewOneOff};
use crate::store::{hosts, new_id, releases};
use crate::token::Token;

/// Those of one app at a time.
const MAX: usize = 20;

/// The longest command, in bytes.
const MAX_COMMAND: usize = 32 << 10;

/// Variables beside the config vars.
const MAX_VARIABLES: usize = 100;

/// What a terminal has when nobody says how large it is.
const USUAL: TerminalSize = TerminalSize { columns: 80, lines: 24 };

/// One that was started, and where it is reached.
pub(super) struct Attachment {
    pub(super) id: String,
    /// With the secret, which is told this once; none: it is detached.
    pub(super) url: Option<String>,
}

/// Has the host start one.
pub(super) async fn start(
    db: &mut AnyConnection,
    app: &AppRow,
    user: &UserName,
    new: &NewDyno,
) -> Answer<Attachment> {
    let (command, env) = (command(&new.command)?, variables(&new.env)?);
    let version = app.running();
    let release = releases::find(db, &app.id, version).await?.ok_or(sqlx::Error::RowNotFound)?;
    if release.slug.is_none() {
        let message = format!("`{}` has nothing to run yet: push to it first.", app.name);
        return Err(ApiFault::invalid(message));
    }
    let size = size(db, app, version, new).await?;
    let there = one_offs::of_app(db, &app.id).await?;
    if there.len() >= MAX {
        let message = format!("`{}` has {MAX} one-off dynos, as many as it may: stop some first.", app.name);
        return Err(ApiFault::too_often("too_many_dynos", message));
    }
    let taken: Vec<u32> = there.iter().map(|one_off| one_off.number).collect();
    let place = if new.attach { Some(terminals(db).await?) } else { None };
    let secret = if new.attach { Some(Token::generate_plain()?) } else { None };
    let (id, digest) = (new_id(), secret.as_ref().map(Token::digest));
    let terminal = (new.attach && new.force_no_tty != Some(true)).then(|| terminal(&new.env));
    let one_off = NewOneOff {
        id: &id,
        number: free_number(&taken)?,
        release: version,
        command,
        env: &env,
        size,
        secret_digest: digest.as_deref(),
        terminal,
        user,
    };
    one_offs::insert(db, &app.id, one_off).await?;
    let url = place.zip(secret).map(|(place, secret)| address(&place, &secret));
    Ok(Attachment { id, url })
}

fn command(raw: &str) -> Answer<&str> {
    if raw.trim().is_empty() || raw.len() > MAX_COMMAND {
        return Err(ApiFault::invalid(format!("A command must have from 1 to {MAX_COMMAND} bytes.")));
    }
    Ok(raw)
}

fn variables(env: &BTreeMap<String, EnvValue>) -> Answer<BTreeMap<String, String>> {
    if env.len() > MAX_VARIABLES {
        let message = format!("At most {MAX_VARIABLES} variables can be given to one dyno.");
        return Err(ApiFault::invalid(message));
    }
    if let Some(refused) = env.keys().find_map(|name| name.parse::<ConfigVarName>().err()) {
        return Err(ApiFault::invalid(format!("{refused}.")));
    }
    Ok(env.iter().map(|(name, value)| (name.clone(), value.to_string())).collect())
}

/// As `COLUMNS` and `LINES` say.
fn terminal(env: &BTreeMap<String, EnvValue>) -> TerminalSize {
    let told = |name: &str| match env.get(name)? {
        EnvValue::Number(number) => u16::try_from(*number).ok(),
        EnvValue::Text(text) => text.parse().ok(),
    };
    let told = |name, usual| told(name).filter(|size| *size > 0).unwrap_or(usual);
    TerminalSize { columns: told("COLUMNS", USUAL.columns), lines: told("LINES", USUAL.lines) }
}

/// The one that is asked for; else that of the process type that is; else the usual one.
async fn size(db: &mut AnyConnection, app: &AppRow, version: u64, new: &NewDyno) -> Answer<DynoSize> {
    if let Some(size) = &new.size {
        return super::formation::sized(size);
    }
    let Some(kind) = new.kind.as_deref().filter(|kind| *kind != RUN) else { return Ok(DynoSize::USUAL) };
    let all = formation::of_release(db, app, version).await?;
    let found = all.iter().find(|wanted| wanted.process_type.as_str() == kind);
    found.map(|wanted| wanted.size).ok_or_else(|| {
        let message = format!("Couldn't find that process type ({}).", judge::shown(kind));
        ApiFault::missing("formation", message)
    })
}

async fn terminals(db: &mut AnyConnection) -> Answer<RendezvousPlace> {
    hosts::rendezvous(db).await?.ok_or_else(|| {
        let message = "This server's host has no place for terminals: run the command detached, with \
                       `run:detached`.";
        ApiFault::particular(StatusCode::UNPROCESSABLE_ENTITY, "no_terminals", message)
    })
}

fn address(place: &RendezvousPlace, secret: &Token) -> String {
    let certificate = place.certificate.as_ref().map(|digest| format!("?certificate={digest}"));
    format!("{}/{}{}", place.url, secret.reveal(), certificate.unwrap_or_default())
}

/// A number that no other one of the app has: by chance, so that a log does not take one for an earlier one.
fn free_number(taken: &[u32]) -> Answer<u32> {
    let (first, last) = (*ONE_OFF_NUMBERS.start(), *ONE_OFF_NUMBERS.end());
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|e| ApiFault::Internal(format!("no random bytes: {e}")))?;
    let begin = u32::from_le_bytes(bytes) % (last - first + 1);
    let all = (0..=last - first).map(|step| first + (begin + step) % (last - first + 1));
    all.into_iter()
        .find(|number| !taken.contains(number))
        .ok_or_else(|| ApiFault::Internal("every number is taken".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_the_size_that_is_told_in_numbers_or_in_words() {
        let size = |columns: EnvValue, lines: EnvValue| {
            let told = terminal(&[("COLUMNS".to_owned(), columns), ("LINES".to_owned(), lines)].into());
            (told.columns, told.lines)
        };
        let text = |text: &str| EnvValue::Text(text.to_owned());
        assert_eq!(size(EnvValue::Number(120), text("40")), (120, 40));
        assert_eq!(size(EnvValue::Number(70_000), text("")), (80, 24));
        assert_eq!(size(EnvValue::Number(0), text("-1")), (80, 24));
        assert_eq!(terminal(&BTreeMap::new()), USUAL);
    }

    #[test]
    fn a_number_that_is_taken_is_not_given_again() {
        let all_but_one: Vec<u32> = ONE_OFF_NUMBERS.filter(|number| *number != 4321).collect();
        assert_eq!(free_number(&all_but_one).unwrap(), 4321);
        assert!(ONE_OFF_NUMBERS.contains(&free_number(&[]).unwrap()));
    }

    #[test]
    fn a_certificate_that_nobody_could_verify_is_told_with_the_secret() {
        let mut place = RendezvousPlace { url: "rendezvous://paas.test:5003".to_owned(), certificate: None };
        let secret = Token::presented("5ec2e7");
        assert_eq!(address(&place, &secret), "rendezvous://paas.test:5003/5ec2e7");
        place.certificate = Some("ab".repeat(32));
        let told = format!("rendezvous://paas.test:5003/5ec2e7?certificate={}", "ab".repeat(32));
        assert_eq!(address(&place, &secret), told);
    }
}
