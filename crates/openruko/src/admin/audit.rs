//! `openruko admin audit`.

use std::io::Write;

use clap::Args;
use ruko_api_client::ApiClient;
use ruko_api_types::AuditEntry;
use ruko_core::AppName;

use super::{Done, show};

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Of this app alone
    #[arg(long)]
    app: Option<AppName>,
    /// The most entries
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &AuditArgs, client: &ApiClient, out: &mut dyn Write) -> Done {
    let entries = client.audit(args.app.as_ref(), args.limit)?;
    if args.json {
        return Ok(show::json(out, &entries)?);
    }
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let row = |entry: AuditEntry| {
        let app = or_dash(entry.app.unwrap_or_default());
        [entry.at, or_dash(entry.user), or_dash(entry.address), app, entry.action, entry.detail]
    };
    show::table(out, &entries.into_iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}
