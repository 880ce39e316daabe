//! `openruko admin storage`.

use std::io::Write;

use clap::Args;
use ruko_api_client::ApiClient;
use ruko_api_types::storage::{AppUsage, Garbage, StorageUsage};
use ruko_core::message;

use super::{Done, show};

#[derive(Debug, Args)]
#[command(
    after_help = "What is kept is said in [api.retention] of the configuration; what runs is always kept.

Examples:
  openruko admin storage
  openruko admin storage --gc --dry-run"
)]
pub(super) struct StorageArgs {
    /// Apply the rules of what is kept now, instead of waiting for the next ten minutes to pass
    #[arg(long)]
    gc: bool,
    /// With --gc: change nothing, only say what would be removed
    #[arg(long, requires = "gc")]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StorageArgs, client: &ApiClient, out: &mut dyn Write) -> Done {
    if args.gc {
        let garbage = client.collect_garbage(args.dry_run)?;
        return match args.json {
            true => Ok(show::json(out, &garbage)?),
            false => Ok(say_garbage(out, &garbage, args.dry_run)?),
        };
    }
    let usage = client.storage()?;
    match args.json {
        true => Ok(show::json(out, &usage)?),
        false => Ok(say_usage(out, &usage)?),
    }
}

fn say_garbage(out: &mut dyn Write, garbage: &Garbage, dry_run: bool) -> std::io::Result<()> {
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), message::bytes);
    let rows: Vec<_> = garbage.objects.iter().map(|one| [one.name.clone(), size(one.bytes)]).collect();
    show::table(out, &rows)?;
    let bytes = garbage.objects.iter().filter_map(|one| one.bytes).sum();
    let what =
        if dry_run { "would not be kept" } else { "are not kept any more, and deleted in the background" };
    writeln!(out, "{} objects ({}) {what}", garbage.objects.len(), message::bytes(bytes))
}

fn say_usage(out: &mut dyn Write, usage: &StorageUsage) -> std::io::Result<()> {
    let row = |app: &AppUsage| {
        [
            app.app.to_string(),
            format!("{} slugs", app.slugs),
            message::bytes(app.slug_bytes),
            format!("{} repositories", app.repositories),
            message::bytes(app.repository_bytes),
        ]
    };
    show::table(out, &usage.apps.iter().map(row).collect::<Vec<_>>())?;
    let bytes = usage.apps.iter().map(|app| app.slug_bytes + app.repository_bytes).sum();
    let place = &usage.place;
    writeln!(
        out,
        "{} at {place}, build caches not counted; {} objects to delete",
        message::bytes(bytes),
        usage.to_delete
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruko_api_types::storage::GarbageObject;

    #[test]
    fn what_there_is_and_what_goes_is_shown_with_sizes() {
        let mut out = Vec::new();
        let app = AppUsage {
            app: "shop".parse().unwrap(),
            slugs: 3,
            slug_bytes: 3 << 20,
            repositories: 2,
            repository_bytes: 1 << 20,
        };
        let usage = StorageUsage { place: "file:///srv/".into(), to_delete: 1, apps: vec![app] };
        say_usage(&mut out, &usage).unwrap();
        let objects = vec![
            GarbageObject { name: "file:///srv/a".into(), bytes: Some(1 << 20) },
            GarbageObject { name: "file:///srv/b".into(), bytes: None },
        ];
        say_garbage(&mut out, &Garbage { objects }, true).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "shop  3 slugs  3.0 MB  2 repositories  1.0 MB");
        assert_eq!(lines[1], "4.0 MB at file:///srv/, build caches not counted; 1 objects to delete");
        assert_eq!(
            lines[2..],
            ["file:///srv/a  1.0 MB", "file:///srv/b  -", "2 objects (1.0 MB) would not be kept"]
        );
    }
}
